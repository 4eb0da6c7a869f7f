"""HTTP, bounded in time and size."""
