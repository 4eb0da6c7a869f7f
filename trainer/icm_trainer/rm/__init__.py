"""Reward models: from pairs of texts, one better than the other, to the log-odds of the good label."""
