"""Searches side by side on one engine and the same examples: what they cost, and what they find."""
