"""Finished reads, remembered in memory and in a file."""
