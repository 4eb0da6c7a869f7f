"""Commands for work that is larger than one run."""
