"""`icm-server`: the commands, and the process that `serve` runs."""
