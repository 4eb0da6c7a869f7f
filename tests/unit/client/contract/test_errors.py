"""Errors of the wire that clients treat in their own way."""

from __future__ import annotations

import numpy as np

from icm_client.contract.errors import DeadlineError, error_body, error_from_body
from icm_client.http.retry import RetryPolicy


def test_a_passed_deadline_is_not_a_gateway_that_waited_in_vain_and_is_not_retried() -> None:
    error = error_from_body(504, error_body(DeadlineError("too late", details={"deadline_s": 1.0})))
    assert type(error) is DeadlineError
    assert (error.message, error.details) == ("too late", {"deadline_s": 1.0})
    assert RetryPolicy().wait_s(error, 1, 0.0, np.random.default_rng(0)) is None
