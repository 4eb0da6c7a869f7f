"""How many files and connections the process may have open."""

from __future__ import annotations

import resource

MOST = 2**16
"""The highest limit that is set: some programs that an engine starts iterate over all possible descriptors."""
RESERVED = 64
"""Descriptors reserved for other uses: the engine, its files, and connections that are being closed."""


def raise_limit() -> int:
    """Raises the process's soft limit of open files as far as allowed, and returns it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)
    if soft == resource.RLIM_INFINITY:
        return MOST
    if limit > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
        return limit
    return soft


def room_for_connections(max_connections: int, num_descriptors: int) -> int:
    """The number of connections: `max_connections`, or fewer so that an eighth of all descriptors remains for other
    uses."""
    return max(1, min(max_connections, num_descriptors - max(RESERVED, num_descriptors // 8)))
