"""The contract between scorer and client: its shapes, its errors, and what both compute of a request."""
