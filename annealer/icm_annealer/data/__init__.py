"""Reading input: rows, tasks and examples."""
