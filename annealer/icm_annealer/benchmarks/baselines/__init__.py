"""Compares ICM with all baselines on one task: `icm baselines`."""
