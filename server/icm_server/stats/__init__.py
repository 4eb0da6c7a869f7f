"""Counters, and their values some time ago."""
