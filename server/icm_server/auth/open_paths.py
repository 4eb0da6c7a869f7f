"""What needs no key: the paths that load balancers and orchestrators ask. A leaf."""

from __future__ import annotations

ALIVE_PATHS = ("/healthz", "/health", "/livez", "/ping")
"""The process is there, by all the names that others know this by."""
READY_PATH = "/readyz"

OPEN_PATHS = frozenset({*ALIVE_PATHS, READY_PATH})
"""Every other path needs a key where there are keys, also one that does not exist. None of these takes a body."""
