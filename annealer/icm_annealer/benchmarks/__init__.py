"""Comparisons of methods on the same examples and seeds: the shared code of `icm search-bench` and `icm baselines`."""
