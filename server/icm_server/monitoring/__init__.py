"""What a running scorer reports about itself."""
