"""`icm`: the commands. Thin callers of the library."""
