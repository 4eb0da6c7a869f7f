"""API keys, and the tenants that hold them."""
