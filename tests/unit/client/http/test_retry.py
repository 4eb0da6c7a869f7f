"""What is retried, and when: decisions without clock or network."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icm_client import AccessError, BusyError, IcmError, RequestError, ScorerError, UnavailableError
from icm_client.contract.errors import error_body, error_from_body
from icm_client.http.retry import RetryPolicy, Tries, retry_after_s

POLICY = RetryPolicy(patience_s=100.0, busy_patience_s=1000.0, first_wait_s=0.5, max_wait_s=8.0)


def wait_s(error: IcmError, attempt: int = 1, spent_s: float = 0.0) -> float | None:
    return POLICY.wait_s(error, attempt, spent_s, np.random.default_rng(0))


@pytest.mark.parametrize("error", [RequestError("x"), AccessError("x"), ScorerError("x"), IcmError("x")])
def test_what_will_not_get_better_is_not_retried(error: IcmError) -> None:
    assert wait_s(error) is None


def test_waits_double_up_to_the_longest_with_some_jitter() -> None:
    bases = [0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0]
    for attempt, base in enumerate(bases, start=1):
        wait = wait_s(UnavailableError("gone"), attempt)
        assert wait is not None
        assert base <= wait <= 1.25 * base
    waits = {POLICY.wait_s(UnavailableError("gone"), 1, 0.0, np.random.default_rng(seed)) for seed in range(5)}
    assert len(waits) == 5
    assert wait_s(UnavailableError("gone"), 10_000) is not None


def test_a_busy_scorer_names_the_wait() -> None:
    for attempt in (1, 7):
        wait = wait_s(BusyError("full", retry_after_s=20.0), attempt)
        assert wait is not None
        assert 20.0 <= wait <= 25.0


def test_patience_ends() -> None:
    assert wait_s(UnavailableError("gone"), 5, spent_s=85.0) is not None
    assert wait_s(UnavailableError("gone"), 5, spent_s=93.0) is None
    assert wait_s(BusyError("full", retry_after_s=101.0)) is not None
    assert wait_s(BusyError("full", retry_after_s=1001.0)) is None
    assert wait_s(BusyError("full", retry_after_s=float("inf"))) is None


def test_an_unready_scorer_may_name_the_wait_too() -> None:
    wait = wait_s(UnavailableError("draining", retry_after_s=30.0), 1)
    assert wait is not None
    assert 30.0 <= wait <= 37.5


def test_a_time_that_has_passed_is_no_reason_to_hurry() -> None:
    assert (wait_s(BusyError("full", retry_after_s=0.0)) or 0.0) >= POLICY.first_wait_s


NOW = datetime(2026, 11, 25, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0.0),
        ("7", 7.0),
        (" 2.5 ", 2.5),
        ("-3", 0.0),
        ("Wed, 25 Nov 2026 12:00:30 GMT", 30.0),
        ("Wed, 25 Nov 2026 12:00:30 -0000", 30.0),
        ("Wed, 25 Nov 2026 13:00:30 +0100", 30.0),
        ("Wednesday, 25-Nov-26 12:01:00 GMT", 60.0),
        ("Wed Nov 25 12:00:10 2026", 10.0),
        ("Wed, 25 Nov 2026 11:00:00 GMT", 0.0),
        ("", None),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("1e999", None),
        ("Wed, 99 Nov 2026 12:00:30 GMT", None),
    ],
)
def test_a_wait_is_named_in_seconds_or_by_date(header: str, seconds: float | None) -> None:
    assert retry_after_s(header, NOW) == seconds


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60) | st.from_regex(r"\w{3}, \d+ \w{3} \d+ [\d:]+ (GMT|[+-]\d+)?", fullmatch=True))
def test_no_header_is_an_accident(header: str) -> None:
    seconds = retry_after_s(header, NOW)
    assert seconds is None or 0.0 <= seconds < float("inf")


def test_patience_begins_with_the_first_failure_since_something_has_come() -> None:
    rng = np.random.default_rng(0)
    tries = Tries(POLICY)
    assert tries.failed(UnavailableError("gone"), 1000.0, rng) is not None  # however long it worked before
    assert tries.failed(UnavailableError("gone"), 1098.0, rng) is not None
    assert tries.failed(UnavailableError("gone"), 1100.0, rng) is None
    tries.progressed()
    wait = tries.failed(UnavailableError("gone"), 1150.0, rng)
    assert wait is not None
    assert wait <= 0.5 * 1.25  # the first of a new series


def test_a_busy_scorer_is_there() -> None:
    """Being refused does not use up the patience with a scorer that is away; each has its own end."""
    rng = np.random.default_rng(0)
    tries = Tries(POLICY)
    assert tries.failed(UnavailableError("gone"), 490.0, rng) is not None
    assert tries.failed(BusyError("full"), 500.0, rng) is not None
    assert tries.failed(UnavailableError("gone"), 595.0, rng) is not None
    assert tries.failed(UnavailableError("gone"), 695.0, rng) is None
    assert tries.failed(BusyError("full"), 1500.0, rng) is None


def test_a_scorer_that_was_not_asked_yet_is_asked_at_once_whatever_patience_is_left() -> None:
    rng = np.random.default_rng(0)
    tries, error = Tries(RetryPolicy(patience_s=0.0)), UnavailableError("gone")
    error.others_left = True
    assert [tries.failed(error, now_s, rng) for now_s in (0.0, 50.0)] == [0.0, 0.0]
    error.others_left = False
    assert tries.failed(error, 50.0, rng) is None


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, RequestError),
        (413, RequestError),
        (422, RequestError),
        (404, RequestError),
        (401, AccessError),
        (403, AccessError),
        (429, BusyError),
        (502, UnavailableError),
        (503, UnavailableError),
        (504, UnavailableError),
        (500, ScorerError),
        (408, UnavailableError),
        (415, RequestError),
        (304, RequestError),
        (204, ScorerError),
    ],
)
@pytest.mark.parametrize("body", [{"error": {"code": "c", "message": "m", "details": {"k": 1}}}, "<html>", None, [1]])
def test_every_status_has_its_error(status: int, kind: type[IcmError], body: object) -> None:
    error = error_from_body(status, body, 3.0)
    assert type(error) is kind
    assert error.message
    if isinstance(body, dict):
        assert (error.code, error.message, error.details) == ("c", "m", {"k": 1})
        assert error_body(error) == body
    else:
        assert str(status) in error.message
    if isinstance(error, BusyError):
        assert error.retry_after_s == 3.0
