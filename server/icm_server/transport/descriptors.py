"""How many files and connections the process may have open."""

from __future__ import annotations

import resource

MOST = 2**16
"""More are not asked for: some programs that an engine starts go through all that they might have."""
RESERVED = 64
"""For what is no connection, at least: the engine, its files, and connections that are just being ended."""


def raise_limit() -> int:
    """Lets the process open as many files as it may by itself, and returns how many that are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)
    if soft == resource.RLIM_INFINITY:
        return MOST
    if wanted > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return soft


def room_for_connections(max_connections: int, num_descriptors: int) -> int:
    """How many connections there may be: those wanted, or as many as leave an eighth of all files for others."""
    return max(1, min(max_connections, num_descriptors - max(RESERVED, num_descriptors // 8)))
