"""A limit that holders share so that none of them can use all of it. Pure; a leaf.

Dynamic thresholds (Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory packet switches", 1998): a
holder may have as much as stays free. A single holder gets half of the limit, n holders get 1 / (n + 1) each, and the
same amount is left for the next one.
"""

from __future__ import annotations


def fits(more: int, own: int, held: int, limit: int) -> bool:
    """Whether a holder that has `own` may have `more`, while all holders, this one included, have `held` of
    `limit`."""
    return own + more <= limit - held - more or (held == 0 and more <= most_alone(limit))


def most_alone(limit: int) -> int:
    """The most that one holder can have while no other has anything."""
    return max(1, limit // 2)


class SharedLimit:
    """Counts each holder's part of one limit.

    `shared=False`: all holders count as one, which may use the whole limit.
    """

    def __init__(self, limit: int, *, shared: bool = True):
        self.limit, self._shared = limit, shared
        self._held: dict[str, int] = {}
        self.total = 0

    def take(self, holder: str, amount: int) -> bool:
        """Takes `amount` for the holder and returns True, or returns False if it does not fit."""
        own = self._held.get(holder, 0)
        if not amount:
            return True
        may = fits(amount, own, self.total, self.limit) if self._shared else self.total + amount <= self.limit
        if may:
            self._held[holder] = own + amount
            self.total += amount
        return may

    def give_back(self, holder: str, amount: int) -> None:
        """Returns part of what was taken."""
        left = self._held.get(holder, 0) - amount
        self.total -= amount
        if left:
            self._held[holder] = left
        else:
            self._held.pop(holder, None)

    def is_over(self, holder: str) -> bool:
        """Whether the holder has more than it could take now, because more holders have come."""
        return self._shared and self._held.get(holder, 0) > self.limit - self.total
