"""What everybody holds of one limit: nobody gets all of it. A leaf but for the rule."""

from __future__ import annotations

from icm_server.shared_limit import fits


class Shares:
    """Amounts by holder, shared out by `shared_limit`.

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
