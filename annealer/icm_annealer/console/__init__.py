"""Output in a terminal or a notebook."""
