"""Rules of logical consistency: what they count, and the best labels that contradict none."""
