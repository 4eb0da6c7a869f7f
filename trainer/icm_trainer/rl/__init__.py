"""Reinforcement learning: a policy that writes what a reward model likes, and stays near its start."""
