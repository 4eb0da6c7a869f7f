"""The estimate of how many labels are right: only from rows that are a random sample."""

from __future__ import annotations

import numpy as np
import pytest

from icm_annealer.evaluation.agreement import agreement, random_order
from icm_annealer.runs.schema.review import Decision
from icm_annealer.runs.schema.rows import LabelRow

NUM = 100


def row(label: str = "hot", *, reviewed: bool = False, known: bool = False) -> LabelRow:
    """One that was found hot."""
    probs = {"hot": 0.5, "cool": 0.5}
    return LabelRow(
        id="",
        label=label,
        probs=probs,
        margin=0.0,
        context_probs=probs,
        label_mass=1.0,
        group=None,
        run="",
        known=known,
        found="hot",
        decision=Decision(id="", label=label, was="hot") if reviewed else None,
    )


def reviewed(labels: list[str], numbers: list[int]) -> list[LabelRow]:
    """Rows of which those with these numbers were reviewed; of the others nobody knows that they may be wrong."""
    return [row(label, reviewed=True) if n in numbers else row() for n, label in enumerate(labels)]


def test_only_rows_that_stand_first_in_random_order_count() -> None:
    order = random_order(NUM)
    assert sorted(order) == list(range(NUM))
    assert agreement([row()] * NUM).share is None
    labels = ["hot"] * NUM
    labels[order[1]] = "cool"
    assert agreement(reviewed(labels, order[:4]))[:2] == (4, 3)
    assert agreement(reviewed(labels, order[1:40])).num == 0  # the first was skipped
    assert agreement(reviewed(labels, [*order[:4], *order[5:40]])).num == 4
    known = reviewed(labels, order[:4])
    known[order[4]] = row(known=True)
    known[order[5]] = row("cool", reviewed=True)
    assert agreement(known) == (5, 3, NUM - 1)


def test_the_share_is_exact_when_all_rows_are_reviewed() -> None:
    labels = ["cool"] * 10 + ["hot"] * 90
    share = agreement(reviewed(labels, list(range(NUM)))).share
    assert share is not None
    assert (share.value, share.low, share.high) == (0.9, 0.9, 0.9)


@pytest.mark.parametrize(("num_reviewed", "num_wrong"), [(20, 5), (90, 30)])
def test_the_interval_holds_the_share_nineteen_times_in_twenty(num_reviewed: int, num_wrong: int) -> None:
    rng, order, num_held = np.random.default_rng(1), random_order(NUM), 0
    for _ in range(400):
        labels = rng.permutation(["cool"] * num_wrong + ["hot"] * (NUM - num_wrong)).tolist()
        share = agreement(reviewed(labels, order[:num_reviewed])).share
        assert share is not None
        num_held += share.low <= 1 - num_wrong / NUM <= share.high
    assert num_held / 400 >= 0.92
