"""Methods tried on the same examples, seed by seed: what `icm search-bench` and `icm baselines` have in common."""
