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


class SharedLimit:
    """Counts what every holder has of one limit.

    `shared=False`: all who ask count as one, who may then have the whole limit.
    """

    def __init__(self, limit: int, *, shared: bool = True):
        self.limit, self._shared = limit, shared
        self._held: dict[str, int] = {}
        self.total = 0

    def take(self, holder: str, amount: int) -> bool:
        """Whether the holder may have so much more; it is then counted."""
        mine = self._held.get(holder, 0)
        if not amount:
            return True
        may = fits(amount, mine, self.total, self.limit) if self._shared else self.total + amount <= self.limit
        if may:
            self._held[holder] = mine + amount
            self.total += amount
        return may

    def give_back(self, holder: str, amount: int) -> None:
        """Of what was taken."""
        left = self._held.get(holder, 0) - amount
        self.total -= amount
        if left:
            self._held[holder] = left
        else:
            self._held.pop(holder, None)

    def is_over(self, holder: str) -> bool:
        """Whether the holder has more than it would be given by now, since others have come."""
        return self._shared and self._held.get(holder, 0) > self.limit - self.total
