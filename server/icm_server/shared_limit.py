"""How a limit is shared by those who hold a part of it, so that nobody can take all of it. Pure; a leaf.

Dynamic thresholds (Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory packet switches", 1998): a
holder may have as much as stays free. One alone gets half of the limit, n of them 1 / (n + 1) each, and as much is left
for the next one.
"""

from __future__ import annotations


def fits(more: int, mine: int, held: int, limit: int) -> bool:
    """Whether one who holds `mine` may have `more` while all together, `mine` included, hold `held` of `limit`."""
    return mine + more <= limit - held - more or (held == 0 and more <= most_alone(limit))


def most_alone(limit: int) -> int:
    """The most that one holder has while nobody else has anything."""
    return max(1, limit // 2)
