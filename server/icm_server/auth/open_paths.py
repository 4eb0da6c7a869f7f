"""The paths that need no key: the probes of load balancers and orchestrators. A leaf."""

from __future__ import annotations

ALIVE_PATHS = ("/healthz", "/health", "/livez", "/ping")
"""The process is alive; these are the usual names of this path."""
READY_PATH = "/readyz"

OPEN_PATHS = frozenset({*ALIVE_PATHS, READY_PATH})
"""If there are keys, every other path needs one, even if it does not exist. None of these paths takes a body."""
