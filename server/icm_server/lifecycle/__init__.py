"""A scorer's life: loading, ready, draining, stopped."""
