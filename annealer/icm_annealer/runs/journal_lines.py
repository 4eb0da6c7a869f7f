"""What the lines of a journal have to hold, as strictly as a scorer's answers are looked at. A leaf.

A journal is a file that people can change, and an answer that is believed becomes a label.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from icm_client.contract.wire import is_logprob


class _Strict(BaseModel):
    """Numbers are numbers and finite, texts are texts; what is not named here does not matter."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)


class _Request(_Strict):
    purpose: str
    plan: str
    labels: list[int]
    queries: Literal["all"] | list[int]
    order: Literal["data"] | list[int]


class _Pass(_Strict):
    number: int = Field(ge=1)
    request: _Request
    num_dropped: int = Field(ge=0)
    logprobs: list[list[float]]
    # What follows is for readers only, and older versions did not write all of it.
    u: float | None = None
    p: float | None = None
    contradictions: int | None = None
    temperature: float | None = None
    label_rates: list[float] = []


class _End(_Strict):
    labels: list[int]
    u: float
    u_se: float | None = None
    alarms: list[str] = []


class Shape(NamedTuple):
    """What a run is about: how many examples, and how many labels."""

    num_examples: int
    num_labels: int

    def check(self, line: dict[str, Any]) -> None:
        """Raises ValueError, in one line, if it is no pass and no end of such a run."""
        kind = line.get("kind")
        try:
            if kind == "pass":
                self._check_pass(_Pass.model_validate(line))
            elif kind == "end":
                end = _End.model_validate(line)
                self._check_labels("labels", end.labels, 0)
            else:
                raise ValueError(f"kind: neither a pass nor the end, but {str(kind)[:40]!r}")
        except pydantic.ValidationError as error:
            raise ValueError(first_wrong(error)) from None

    def _check_pass(self, line: _Pass) -> None:
        self._check_labels("request.labels", line.request.labels, -1)
        queries = range(self.num_examples) if line.request.queries == "all" else line.request.queries
        if not all(0 <= query < self.num_examples for query in queries):
            raise ValueError("request.queries: not numbers of the examples")
        if len(line.logprobs) != len(queries) or any(len(row) != self.num_labels for row in line.logprobs):
            raise ValueError(f"logprobs: not {len(queries)} rows of {self.num_labels} numbers")
        wrong = next((value for row in line.logprobs for value in row if not is_logprob(value)), None)
        if wrong is not None:
            raise ValueError(f"logprobs: {wrong} is no log-probability")

    def _check_labels(self, name: str, labels: list[int], lowest: int) -> None:
        if len(labels) != self.num_examples:
            raise ValueError(f"{name}: {len(labels)} of them for {self.num_examples} examples")
        if not all(lowest <= label < self.num_labels for label in labels):
            raise ValueError(f"{name}: not numbers of the task's {self.num_labels} labels")


def first_wrong(error: pydantic.ValidationError) -> str:
    """Where the first thing is that is wrong, and what."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"] if "[" not in str(part))  # else the kinds that it might be
    return f"{place or 'the whole of it'}: {' '.join(first['msg'].split())}"
