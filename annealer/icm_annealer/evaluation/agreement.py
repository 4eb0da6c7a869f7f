"""How many of the labels found are right, estimated from the rows that people reviewed.

Reviewed rows are no random sample: people look at the least certain ones first, and skip what is hard. But rows that
stand first in a random order are one, if all of them were reviewed. So the estimate takes the rows of that order up to
the first one that nobody has decided, whatever made people decide them.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from icm_annealer.core.estimate import Estimate
from icm_annealer.evaluation.intervals import wilson
from icm_annealer.runs.schema.rows import LabelRow
from icm_client.text.counts import counted

SEED = 0


class Agreement(NamedTuple):
    """How many of the first rows in random order were all reviewed, and how many of them kept the label found."""

    num: int
    num_kept: int
    num_rows: int
    """All rows whose label was found, not known."""

    @property
    def share(self) -> Estimate | None:
        """The share of right labels among all that were found, with its 95 % interval; None if nothing was reviewed.

        Wilson's interval, as if more rows had been drawn, since they are drawn from a finite number of rows without
        replacement: n (N - 1) / (N - n) in place of n. It is exact once all rows are reviewed.
        """
        if not self.num:
            return None
        if self.num == self.num_rows:
            exact = self.num_kept / self.num
            return Estimate(exact, exact, exact)
        factor = (self.num_rows - 1) / (self.num_rows - self.num)
        return wilson(self.num_kept * factor, self.num * factor)

    def __str__(self) -> str:
        """A sentence without its full stop; for rows of which some were reviewed."""
        share = self.share
        assert share is not None
        return (
            f"{100 * share.value:.1f} % of the labels found are right (95 % interval {100 * share.low:.1f} to "
            f"{100 * share.high:.1f} %): people kept {self.num_kept:,} of {counted(self.num, 'label')} taken at random"
        )


@functools.lru_cache(maxsize=1)
def random_order(num: int) -> tuple[int, ...]:
    """The numbers of `num` rows, always in the same random order."""
    return tuple(np.random.default_rng(SEED).permutation(num).tolist())


def agreement(rows: Sequence[LabelRow]) -> Agreement:
    """Of the rows in `random_order`, without those whose label was known."""
    found = [rows[number] for number in random_order(len(rows)) if not rows[number].known]
    num = next((place for place, row in enumerate(found) if not row.is_decided), len(found))
    return Agreement(num, sum(not row.is_changed for row in found[:num]), len(found))
