"""What is retried, and when: decisions without clock or network."""

from __future__ import annotations

import numpy as np
import pytest

from icm_client import AccessError, BusyError, IcmError, RequestError, ScorerError, UnavailableError
from icm_client.errors import error_body, error_from_body
from icm_client.retry import RetryPolicy

POLICY = RetryPolicy(patience_s=100.0, first_wait_s=0.5, max_wait_s=8.0)


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
    assert wait_s(BusyError("full", retry_after_s=101.0)) is None
    assert wait_s(BusyError("full", retry_after_s=float("inf"))) is None


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
