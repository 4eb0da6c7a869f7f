"""Models on disk: the base that is tuned, its tokens, adapters, and folders of tuned models."""
