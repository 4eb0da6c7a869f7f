"""How much the engine is given at once: by what it does in a time that others can wait for."""

from __future__ import annotations

import pytest
from tests.hand_clock import HandClock

from icm_server.scheduling.inflight_limit import EXPECTED_S, SHARED_STEP, SMALL_STEP, InflightLimit

MOST = 100_000


def paced(tokens_per_s: int, max_tokens: int = MOST) -> tuple[InflightLimit, HandClock]:
    """A full engine that computed for ten seconds."""
    clock = HandClock()
    pace = InflightLimit(max_tokens, clock)
    pace.filled(is_full=True)
    for _ in range(1_000):
        clock.now += 0.01
        pace.done(tokens_per_s // 100)
    return pace, clock


def test_alone_and_as_long_as_nothing_is_known_it_has_all_that_it_takes() -> None:
    assert InflightLimit(MOST, HandClock()).max_tokens(is_shared=True) == MOST
    assert paced(40_000)[0].max_tokens(is_shared=False) == MOST


def test_two_steps_of_the_time_that_others_can_wait_for() -> None:
    pace, clock = paced(40_000)
    assert pace.max_tokens(is_shared=True) == pytest.approx(2 * SHARED_STEP.seconds * 40_000, rel=0.01)
    pace.others_wait(is_small=True)
    assert pace.max_tokens(is_shared=True) == pytest.approx(2 * SMALL_STEP.seconds * 40_000, rel=0.01)
    assert pace.max_tokens(is_shared=False) == pace.max_tokens(
        is_shared=True
    )  # one large and a small one, which is answered just now
    pace.filled(is_full=False)
    clock.now += EXPECTED_S
    assert pace.max_tokens(is_shared=True) == pytest.approx(2 * SHARED_STEP.seconds * 40_000, rel=0.01)
    pace.others_wait(is_small=False)
    assert pace.max_tokens(is_shared=False) == pace.max_tokens(
        is_shared=True
    )  # two large ones, one of which is between two passes
    clock.now += EXPECTED_S
    assert pace.max_tokens(is_shared=False) == MOST


def test_never_more_than_the_engine_takes_and_never_too_few_for_a_step() -> None:
    assert paced(10_000_000)[0].max_tokens(is_shared=True) == MOST
    pace, _ = paced(100)
    assert pace.max_tokens(is_shared=True) == 2 * SHARED_STEP.min_tokens
    pace.others_wait(is_small=True)
    assert pace.max_tokens(is_shared=True) == 2 * SMALL_STEP.min_tokens


def test_time_in_which_it_could_have_had_more_says_nothing_of_its_pace() -> None:
    pace, clock = paced(40_000)
    before = pace.max_tokens(is_shared=True)
    pace.filled(is_full=False)
    clock.now += 100
    pace.done(7)
    pace.filled(is_full=True)
    assert pace.max_tokens(is_shared=True) == before
