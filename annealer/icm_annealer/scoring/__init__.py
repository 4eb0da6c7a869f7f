"""Passes: which contexts are asked for, as text, through a scorer, and back as arrays."""
