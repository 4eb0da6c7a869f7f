"""The result of a labelling, read from its folder."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from icm_annealer.api.report import Report
from icm_annealer.core.arrays import Array
from icm_annealer.data.columnar import required
from icm_annealer.data.examples import Example
from icm_annealer.export.labelled import Labelled
from icm_annealer.export.tables import flat_records, make_dataset
from icm_annealer.labelling.alarm import Alarm
from icm_annealer.reporting.report import render_report
from icm_annealer.reporting.run_report import RunReport
from icm_annealer.runs.record import RunRecord
from icm_annealer.runs.schema.verdict import Verdict
from icm_client.text.counts import counted


class LabelResult:
    """The labels found, in the order of the rows, the verdict on them and the alarms about them.

    `label`, `anneal` and `open_run` return one. Everything is read from `folder`, including what people decided
    in a review or in `labels.jsonl`.

    Examples:
        >>> import icm_annealer as icm
        >>> words = ["red", "blue", "rose", "navy"]
        >>> result = icm.label(words, template="{word}:", labels=["warm", "cold"], scorer="fake:")
        >>> len(result.labels), result.probs.shape, result.label_names
        (4, (4, 2), ['warm', 'cold'])
        >>> doubtful = [word for word, certainty in zip(words, result.certainty) if certainty < 0.8]
        >>> len(doubtful) <= 4
        True
    """

    folder: Path
    """The run's folder: journal, labels, metrics, costs. A temporary one is removed together with this object."""
    alarms: list[Alarm]
    """Possible problems with the labels; `level` is "warning" or "note". Empty if there are none."""
    had_ended: bool
    """True if the run was already finished when it was resumed, so no search was run."""
    needed: str
    """About the least budget with which a search that was stopped at its budget goes on, such as `"34,792 tokens"`;
    empty for one that came to its end, and for a run that was opened."""
    index: Any
    """The index of the pandas DataFrame that held the rows; None for other rows."""

    def __init__(
        self,
        folder: Path,
        alarms: Sequence[Alarm],
        examples: Sequence[Example],
        gold: dict[str, str] | None = None,
        *,
        had_ended: bool = False,
        needed: str = "",
    ):
        self.needed = needed
        self.folder, self.alarms, self.had_ended = folder, list(alarms), had_ended
        self._record = RunRecord.read(folder)
        self._labelled = [Labelled(e, row) for e, row in zip(examples, self._record.rows(), strict=True)]
        self._gold = gold
        self.index: Any = None

    @property
    def verdict(self) -> Verdict:
        """Whether to use the labels: what was measured, without gold, and what to do."""
        assert self._record.verdict is not None  # the run is finished
        return self._record.verdict

    @property
    def label_names(self) -> list[str]:
        """The task's labels, in its order: the columns of `probs`."""
        return self._record.task.label_names

    @property
    def ids(self) -> list[str]:
        """The rows' ids: their field `id`, or their numbers from "0" on."""
        return self._record.ids

    @property
    def labels(self) -> list[str]:
        """The name of each row's label."""
        return [one.row.label for one in self._labelled]

    @cached_property
    def certainty(self) -> Array:
        """How certain each row's label is, from 0 to 1: its probability in `probs`, or 1 if it was known or
        decided by a person; shape [rows]."""
        return np.array([one.row.certainty for one in self._labelled])

    @property
    def is_known(self) -> list[bool]:
        """Whether each row's label was given as known, not found."""
        return [one.row.known for one in self._labelled]

    @cached_property
    def margins(self) -> Array:
        """How many nats the label found for each row scores above the next best label; shape [rows]. It orders rows as
        `certainty` does if there are two labels, also where that is 1 to the last digit."""
        return np.array([one.row.margin for one in self._labelled])

    @cached_property
    def probs(self) -> Array:
        """The probabilities that the labels were chosen by, which sum to 1 in each row; shape [rows, labels]. Without
        rules, the label found has the highest."""
        return np.array([list(one.row.probs.values()) for one in self._labelled])

    @cached_property
    def context_probs(self) -> Array:
        """The labels' probabilities behind the other rows with their labels, shape [rows, labels]: from a few last
        passes, which measure U and do not decide labels."""
        return np.array([list(one.row.context_probs.values()) for one in self._labelled])

    @property
    def u(self) -> float:
        """U, the coherence of all labels together, in `u_unit`; comparable only between runs with the same data,
        model, plan and measure."""
        return float("nan") if self._record.u is None else self._record.u

    @property
    def u_se(self) -> float:
        """The standard error of `u` over orders of the examples."""
        return self._record.u_se

    @property
    def u_unit(self) -> str:
        """The unit of `u`, such as "nats per example"."""
        return self._record.u_unit

    @property
    def num_passes(self) -> int:
        """How often the model scored the examples."""
        return self._record.metrics.num_passes if self._record.metrics else 0

    @property
    def computed_tokens(self) -> int:
        """The tokens that the model computed, summed over all processes that worked on the run."""
        return self._record.computed_tokens

    def to_pandas(self) -> Any:
        """A DataFrame with one row per example and the columns id, text, label, certainty, known, margin, label_mass,
        group, run, and for each label `probs.NAME` and `context_probs.NAME`. If the rows were a pandas DataFrame, its
        index is kept.

        Raises RequestError if pandas is not installed.
        """
        pandas = required("pandas", "to_pandas()")
        return pandas.DataFrame(flat_records(self._labelled), index=self.index)

    def to_dataset(self) -> Any:
        """A Dataset of the library `datasets`: id, text, label (a ClassLabel), certainty, known, probs, margin,
        context_probs, label_mass, group, run.

        Raises RequestError if `datasets` is not installed.
        """
        return make_dataset(self._labelled, self._record.task, "to_dataset()")

    def report(self) -> Report:
        """The page that `icm report` writes, shown inline in a notebook."""
        return Report(render_report([RunReport.read(self.folder, self._gold)]))

    def __repr__(self) -> str:
        shares = ", ".join(f"{name} {num / len(self.labels):.0%}" for name, num in Counter(self.labels).most_common())
        lines = [
            f"LabelResult: {counted(len(self.labels), 'label')} ({shares})",
            f"  U {self.u:+.3f} ± {self.u_se:.3f} {self.u_unit}; {counted(self.num_passes, 'pass')}, "
            f"{counted(self.computed_tokens, 'token')} computed",
            f"  folder: {self.folder}",
        ]
        lines.append(f"  verdict: {self.verdict.words} (see .verdict)")
        if self.alarms:
            levels = Counter(alarm.level for alarm in self.alarms)
            lines.append("  " + ", ".join(counted(num, level) for level, num in levels.items()) + " (see .alarms)")
        return "\n".join(lines)


def open_run(folder: str | os.PathLike[str]) -> LabelResult:
    """The result of a finished run, made by `label`, `icm run` or `icm demo`.

    Raises RequestError if the folder holds no finished run, or files that were damaged.

    Examples:
        >>> import icm_annealer as icm
        >>> words = ["red", "blue", "rose", "navy"]
        >>> first = icm.label(words, template="{word}:", labels=["warm", "cold"], scorer="fake:")
        >>> icm.open_run(first.folder).labels == first.labels
        True
    """
    record = RunRecord.read(Path(folder))
    record.rows()  # check for labels before looking for examples
    return LabelResult(record.folder, [Alarm(**alarm.model_dump()) for alarm in record.alarms], record.examples())
