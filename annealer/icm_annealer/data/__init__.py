"""Files in: rows, tasks and examples."""
