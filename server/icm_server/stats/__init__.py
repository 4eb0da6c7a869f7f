"""Counters, and what they were some time ago."""
