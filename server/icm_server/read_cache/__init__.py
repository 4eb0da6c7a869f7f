"""Caches finished reads, in memory and in a file."""
