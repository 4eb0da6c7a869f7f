"""The lifecycle of a scorer: loading, ready, draining, stopped."""
