"""A request's way through the scorer: admitted, planned, queued, dispatched, answered."""
