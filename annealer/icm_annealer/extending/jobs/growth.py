"""How the cost of rows grows with their number, if they share the more the more there are. Pure. A leaf."""

from __future__ import annotations

import math
from typing import NamedTuple

STEEPEST = -0.95
"""The power of the number of rows with which what a row shares with none falls, at least."""


class Growth(NamedTuple):
    """The tokens of rows in two halves, one read after the other, and what follows for more of them."""

    first: int
    second: int
    num: int
    """Rows of the first half; and of both together:"""
    num_both: int
    own: float
    """Tokens of a row that no other row shares."""
    before: int
    """Rows that were read before."""

    @property
    def last(self) -> float:
        """Tokens of each row of the second half."""
        return self.second / max(self.num_both - self.num, 1)

    def most(self, num: float) -> float:
        """Of `num` rows, if further ones cost what the last ones do."""
        return self.first + self.second + max(num - self.num_both, 0.0) * self.last

    def total(self, num: float) -> float:
        """Of `num` rows, if what a further one does not share falls as a power of the rows before it, as the number of
        different words in a text does (Heaps' law)."""
        began, ended = self.first / max(self.num, 1) - self.own, self.last - self.own
        rest, end = num - self.num_both, self.before + self.num_both
        if rest <= 0 or not 0 < ended < began:
            return self.most(num)
        middles = self.before + self.num / 2, self.before + (self.num + self.num_both) / 2
        power = 1 + max(math.log(ended / began) / math.log(middles[1] / middles[0]), STEEPEST)
        grown = math.pow(end + rest, power) - math.pow(end, power)
        grown *= ended * math.pow(middles[1], 1 - power) / power
        return self.first + self.second + rest * self.own + grown
