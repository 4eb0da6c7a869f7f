"""What a running scorer tells of itself."""
