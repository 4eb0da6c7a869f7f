"""Rules of logical consistency: counting contradictions, and finding the best labels without any."""
