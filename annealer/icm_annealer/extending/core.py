"""The labelled core: a finished run, as what further rows are labelled by."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from icm_annealer.core.arrays import Array, Ints
from icm_annealer.core.label_balance import LabelRates
from icm_annealer.data.examples import Example
from icm_annealer.data.rates import label_rates_of
from icm_annealer.data.task import Task, allowed_task, with_rates
from icm_annealer.evaluation.intervals import wilson
from icm_annealer.runs.record import RunRecord
from icm_annealer.runs.schema.verdict import Verdict
from icm_annealer.searches.settings import Settings

MOST_CERTAIN = 0.75
"""The share of each label's examples that contexts are drawn from, the most certain ones."""


@dataclass(frozen=True)
class Core:
    """The examples and labels of a finished run, with what people decided about them. Create it with `read`."""

    folder: Path
    task: Task
    """The run's task, with the label rates that were stated for it or found by it."""
    examples: list[Example]
    labels: Ints
    certainty: Array
    """[example]: the probability of its label."""
    rank: Ints
    """[example]: 0 for the most certain one."""
    settings: Settings
    """The settings of its search."""
    num_tokens: int
    """The tokens that its search computed."""
    verdict: Verdict | None = None
    """Its run's."""

    @classmethod
    def read(cls, folder: Path, *, allow_code: bool = False) -> Core:
        """Raises RequestError if the folder holds no finished run, or not its examples."""
        record = RunRecord.read(folder)
        rows, examples = record.rows(), record.examples()
        task = allowed_task(record.task, str(folder), allow_code=allow_code)
        if record.rates != task.rates:
            task = with_rates(task, record.rates)
        order = sorted(range(len(rows)), key=lambda number: rows[number].rank, reverse=True)
        rank = np.empty(len(rows), dtype=np.int64)
        rank[order] = np.arange(len(rows))
        names = task.label_names
        return cls(
            folder,
            task,
            examples,
            np.array([names.index(row.label) for row in rows], dtype=np.int64),
            np.array([row.certainty for row in rows]),
            rank,
            Settings(**record.header.settings.model_dump()),
            record.computed_tokens,
            record.verdict,
        )

    @property
    def tokens_an_example(self) -> float:
        """That its search computed."""
        return self.num_tokens / len(self.examples)

    def with_task(self, task: Task) -> Core:
        """The core with its task changed, such as in its label rates."""
        return replace(self, task=task)

    @property
    def name(self) -> str:
        return self.folder.resolve().name

    @property
    def digest(self) -> str:
        """A hash of its examples' texts and labels."""
        rows = [[e.id, e.text, int(label)] for e, label in zip(self.examples, self.labels, strict=True)]
        return hashlib.sha256(json.dumps(rows, ensure_ascii=False).encode()).hexdigest()[:16]

    @property
    def certain(self) -> Ints:
        """The examples of whose labels the core is most certain: `MOST_CERTAIN` of those of each label."""
        chosen = []
        for label in range(len(self.task.labels)):
            members = np.flatnonzero(self.labels == label)
            members = members[np.argsort(self.rank[members])]
            chosen.append(members[: int(np.ceil(MOST_CERTAIN * len(members)))])
        return np.concatenate(chosen)

    @property
    def rates(self) -> LabelRates:
        """The shares that labels of further rows have: as stated or found, or else within the 95 % intervals of their
        shares in the core."""
        names = self.task.label_names
        stated = label_rates_of(self.task.rates, names)
        if stated is not None:
            return stated
        found = [wilson(int((self.labels == label).sum()), len(self.labels)) for label in range(len(names))]
        return LabelRates(np.array([one.low for one in found]), np.array([one.high for one in found]))
