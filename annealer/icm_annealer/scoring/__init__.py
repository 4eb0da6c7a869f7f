"""Passes: plans of contexts, their prompts, the requests to a scorer, and the log-probabilities as arrays."""
