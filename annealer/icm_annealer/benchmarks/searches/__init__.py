"""Compares the costs and results of searches on one engine and the same examples: `icm search-bench`."""
