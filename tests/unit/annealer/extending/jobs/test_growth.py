"""What rows cost that share the more the more there are."""

from __future__ import annotations

import pytest

from icm_annealer.extending.jobs.growth import Growth

OWN, BEFORE = 10.0, 100


def tokens(num: int) -> float:
    """Of the first rows: their own, and as many shared ones as there are different words in a text."""
    return OWN * num + 500 * num**0.6


def test_rows_that_share_more_and_more_cost_what_a_power_law_says() -> None:
    first, both = tokens(BEFORE + 200) - tokens(BEFORE), tokens(BEFORE + 400) - tokens(BEFORE)
    growth = Growth(round(first), round(both - first), 200, 400, OWN, BEFORE)
    assert growth.total(400) == growth.most(400) == pytest.approx(both, abs=1)
    for num in (1_000, 100_000):
        assert growth.total(num) == pytest.approx(tokens(BEFORE + num) - tokens(BEFORE), rel=0.05)
        assert growth.total(num) < 0.97 * growth.most(num)


def test_rows_that_share_nothing_cost_the_same_each() -> None:
    growth = Growth(2000, 2000, 200, 400, OWN, BEFORE)
    assert growth.total(1000) == growth.most(1000) == 10_000
    assert Growth(0, 30, 0, 1, OWN, BEFORE).total(3) == 90
