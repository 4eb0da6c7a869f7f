"""Labelled examples to learn from, and where their labels come from."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from icm_annealer.core.arrays import Ints
from icm_annealer.data.examples import Example
from icm_annealer.data.task import Task
from icm_annealer.runs.schema.base import Record
from icm_client.contract.errors import RequestError


class RunOrigin(Record):
    """The run that found the labels, as far as a model card tells of it."""

    model: str
    verdict: str
    alarms: list[str]
    u: float | None
    u_se: float
    u_unit: str


class Origin(Record):
    """Where labels come from."""

    kind: Literal["run", "file", "gold", "field"]
    text: str
    """`found by the run runs/spam`, for a person."""
    run: RunOrigin | None = None


class LabelledExample(NamedTuple):
    """An example with the label to learn."""

    example: Example
    label: str
    certainty: float | None = None
    """The probability of the label, if it is known."""
    margin: float | None = None
    """How many nats the label scores above the next best one, if it is known."""


@dataclass(frozen=True)
class LabelSet:
    """What a model learns from."""

    task: Task
    rows: Sequence[LabelledExample]
    origin: Origin
    num_left_out: int = 0
    """Rows without a label, or with one that was not certain enough."""

    @property
    def labels(self) -> Ints:
        """[row]: the number of the label in the task."""
        number = {name: k for k, name in enumerate(self.task.label_names)}
        return np.array([number[row.label] for row in self.rows], dtype=np.int64)

    @property
    def texts(self) -> list[str]:
        return [row.example.text for row in self.rows]

    @property
    def counts(self) -> dict[str, int]:
        """How many rows have each label of the task."""
        found = Counter(row.label for row in self.rows)
        return {name: found[name] for name in self.task.label_names}

    @property
    def digest(self) -> str:
        """A hash of the texts and labels, in order."""
        found = hashlib.sha256(json.dumps(self.task.seen(), sort_keys=True).encode())
        for row in self.rows:
            found.update(json.dumps([row.example.text, row.example.group, row.label]).encode())
        return found.hexdigest()[:16]

    def first(self, num: int | None) -> LabelSet:
        """Only the first `num`, and the other members of their groups; all for None."""
        if num is None:
            return self
        begun = {row.example.group for row in self.rows[:num] if row.example.group is not None}
        return replace(
            self, rows=[row for number, row in enumerate(self.rows) if number < num or row.example.group in begun]
        )

    def certain(self, abstain_below: float | None, min_margin: float | None) -> LabelSet:
        """Those whose certainty and margin reach these limits. Raises RequestError where they are not known."""
        rows = list(self.rows)
        for limit, values, name, option in (
            (abstain_below, [row.certainty for row in self.rows], "certainty", "--abstain-below"),
            (min_margin, [row.margin for row in self.rows], "margin", "--min-margin"),
        ):
            if limit is None:
                continue
            if any(value is None for value in values):
                raise RequestError(f"{option}: these labels ({self.origin.text}) have no {name}")
            keep = {
                id(row) for row, value in zip(self.rows, values, strict=True) if value is not None and value >= limit
            }
            rows = [row for row in rows if id(row) in keep]
        return replace(self, rows=rows, num_left_out=self.num_left_out + len(self.rows) - len(rows))

    def check(self) -> None:
        """Raises RequestError for labels that nothing can be learnt from."""
        there = [name for name, num in self.counts.items() if num]
        aside = f" ({self.num_left_out:,} rows were left out)" if self.num_left_out else ""
        if not there:
            raise RequestError(f"no labels to learn from{aside}", code="no_labels")
        if len(there) < 2:
            raise RequestError(
                f"all {len(self.rows):,} labels are {there[0]!r}{aside}: a model that learns from one label answers it "
                "always; give labels of at least two",
                code="one_label",
            )
