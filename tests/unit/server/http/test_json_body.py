"""Large bodies are looked through in short steps, since nobody else is served meanwhile."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icm_client.contract.errors import RequestError, TooLargeError
from icm_client.contract.wire import ScoreRequest
from icm_server.http.json_body import MAX_ESCAPES, MAX_VALUES, STEP_BYTES, counted, reading
from icm_server.sharing.steps import finished


def test_a_body_of_many_bytes_takes_many_steps() -> None:
    num_steps, steps = 0, reading(ScoreRequest, b"\\" * (8 * STEP_BYTES))
    with pytest.raises(RequestError, match="not JSON"):  # noqa: PT012
        for _ in steps:
            num_steps += 1
    assert num_steps >= 8


@given(before=st.integers(-3, 3), number=st.integers(0, 5))
def test_nothing_is_missed_where_steps_meet(before: int, number: int) -> None:
    body = b" " * (STEP_BYTES + before) + b"\\u" * number + b" " * 10
    assert finished(counted(body, b"\\u")) == number


@pytest.mark.parametrize(
    ("much", "says"), [(b"," * (MAX_VALUES + 1), "values"), (b"\\u" * (MAX_ESCAPES + 1), "escapes")]
)
def test_what_takes_long_to_parse_is_not_parsed(much: bytes, says: str) -> None:
    with pytest.raises(TooLargeError, match=says):
        finished(reading(ScoreRequest, much))
