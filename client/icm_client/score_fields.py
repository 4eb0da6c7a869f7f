"""The keyword arguments of `score`: the fields of a ScoreRequest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

import pydantic

from icm_client.contract.errors import RequestError
from icm_client.contract.wire import Label, Prompt, Row, ScoreRequest
from icm_client.text.validation import first_error


class ScoreFields(TypedDict, total=False):
    """See the fields of `ScoreRequest`; only `prompts` and `labels` are required."""

    prompts: Sequence[Prompt]
    labels: Sequence[Label]
    segments: Sequence[str]
    prefixes: Sequence[Row]
    terminator: str | None
    experiment: str
    model: str
    priority: int
    special_tokens: bool
    fresh: bool
    deadline_s: float | None


def score_request(request: ScoreRequest | None, fields: ScoreFields) -> ScoreRequest:
    """The given request, or a request with these fields. Raises RequestError if both or neither are given, and for an
    invalid field."""
    if request is not None and fields:
        raise RequestError(f"score takes a ScoreRequest or keyword arguments, not both (got {', '.join(fields)})")
    try:
        return request or ScoreRequest.model_validate(fields)
    except pydantic.ValidationError as error:
        raise RequestError(first_error(error, whole="the request")) from None
