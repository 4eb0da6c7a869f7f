"""Reads a run from its folder: its settings, progress and results. Gold labels are not read here."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import pydantic

from icm_annealer.core.objective import unit_of_u
from icm_annealer.data.examples import Example, digest
from icm_annealer.data.label_columns import searched_fields
from icm_annealer.data.rates import Rates
from icm_annealer.data.rows import read_rows
from icm_annealer.data.task import Task
from icm_annealer.runs.costs import read_costs
from icm_annealer.runs.directory import EVALUATION, EXAMPLES, JOURNAL, LABELS, METRICS, REVIEW
from icm_annealer.runs.examples_file import read_examples
from icm_annealer.runs.journal import is_being_written, read_header, read_last
from icm_annealer.runs.journal_lines import JournalLine, Shape
from icm_annealer.runs.review_file import ReviewFile
from icm_annealer.runs.schema.base import read_file
from icm_annealer.runs.schema.evaluation import Evaluation
from icm_annealer.runs.schema.journal import EndLine, RunHeader, StoppedBy
from icm_annealer.runs.schema.metrics import AlarmRecord, RunMetrics
from icm_annealer.runs.schema.rows import CostLine, LabelRow
from icm_annealer.runs.schema.verdict import Verdict
from icm_client.contract.errors import RequestError
from icm_client.text.counts import counted
from icm_client.text.validation import first_error

State = Literal["running", "stopped", "finished", "warned"]
MAX_ROUNDING = 1e-2
"""The largest deviation from 1 of the sum of an example's probabilities."""


@dataclass(frozen=True)
class RunRecord:
    """One search's folder. Create it with `read`; large files are read on demand."""

    folder: Path
    header: RunHeader
    last: JournalLine | None
    """The journal's last line: the end, or the last answered pass; None before the first pass."""

    @classmethod
    def read(cls, folder: Path) -> RunRecord:
        """Reads the run in `folder`. Raises RequestError if there is none, or if it cannot be read."""
        path = folder / JOURNAL
        if not path.is_file():
            raise RequestError(f"{folder} holds no run (there is no {JOURNAL})" + _inner(folder), code="no_run")
        header = read_header(path)
        return cls(folder, header, read_last(path, Shape.of(header)))

    @property
    def task(self) -> Task:
        """The task as used by the search: without the gold field and without descriptions."""
        return self.header.task

    @property
    def ids(self) -> list[str]:
        return self.header.ids

    @property
    def name(self) -> str:
        return self.folder.resolve().name

    @property
    def end(self) -> EndLine | None:
        """The journal's end line; None if the run is not finished."""
        return self.last if isinstance(self.last, EndLine) else None

    @property
    def is_finished(self) -> bool:
        return self.end is not None and (self.folder / LABELS).is_file()

    @property
    def state(self) -> State:
        """The run's state. `warned` means finished with a warning: the labels are probably not the intended ones."""
        if not self.is_finished:
            return "running" if is_being_written(self.folder / JOURNAL) else "stopped"
        return "warned" if any(alarm.level == "warning" for alarm in self.alarms) else "finished"

    @cached_property
    def metrics(self) -> RunMetrics | None:
        """`metrics.json`; None if there is none yet."""
        return read_file(self.folder / METRICS, RunMetrics)

    @property
    def alarms(self) -> list[AlarmRecord]:
        """The run's alarms. If it was stopped before it wrote its metrics, they are warnings with only a code."""
        if self.metrics is not None:
            return self.metrics.alarms
        codes = self.end.alarms if self.end else []
        return [AlarmRecord(code=code, level="warning", observation="", advice="") for code in codes]

    @property
    def verdict(self) -> Verdict | None:
        """The run's verdict; None before the end. If it was stopped before it wrote its metrics, only its name."""
        if self.end is None:
            return None
        return self.metrics.verdict if self.metrics is not None else Verdict(self.end.verdict)

    @property
    def rates(self) -> Rates:
        """The label rates that were stated for the run; else those of its labels, if its verdict is `uneven`."""
        if self.task.rates or self.end is None or self.end.verdict != "uneven":
            return self.task.rates
        return {name: (share, share) for name, share in self.label_rates.items()}

    @property
    def stopped_by(self) -> StoppedBy | None:
        """The budget at which the search was stopped; None if it came to its end, or has not ended."""
        return self.end.stopped if self.end else None

    @property
    def u(self) -> float | None:
        """U of the labels found, or of the last pass with a U."""
        return self.last.u if self.last else None

    @property
    def u_se(self) -> float:
        """Standard error of U over orders; 0 before the end."""
        return self.end.u_se if self.end else 0.0

    @property
    def u_unit(self) -> str:
        return unit_of_u(self.header.settings.measure)

    @property
    def label_rates(self) -> dict[str, float]:
        """The share of each label in the labels found, or in the last pass; empty before the first pass."""
        if self.last is None:
            return {}
        names = self.task.label_names
        if isinstance(self.last, EndLine):
            labels = self.last.labels
            return {name: labels.count(number) / len(labels) for number, name in enumerate(names)}
        return dict(zip(names, self.last.label_rates, strict=False))

    @cached_property
    def computed_tokens(self) -> int:
        """Summed over all processes that worked on the run."""
        return sum(cost.computed_tokens for cost in self.costs)

    @cached_property
    def costs(self) -> list[CostLine]:
        """One line per answered request."""
        return read_costs(self.folder)

    @cached_property
    def evaluation(self) -> Evaluation | None:
        """The last results of `icm eval`; None if there are none."""
        return read_file(self.folder / EVALUATION, Evaluation)

    def rows(self) -> list[LabelRow]:
        """The labels, in order of the examples, as people have decided them. Raises RequestError if the run is not
        finished, or naming an invalid line."""
        rows, decisions = self.file_rows(), self.review().read()
        return [row.with_decision(decisions[row.id]) if row.id in decisions else row for row in rows]

    def review(self) -> ReviewFile:
        """The decisions about its rows; none if nobody has reviewed them."""
        return ReviewFile(self.folder / REVIEW, frozenset(self.ids), frozenset(self.task.labels))

    def file_rows(self) -> list[LabelRow]:
        """The rows of `labels.jsonl`, without the decisions of a review. Raises RequestError as `rows` does."""
        if not self.is_finished:
            how = (
                "is still running"
                if self.state == "running"
                else f"was stopped before its end: continue it with `icm resume {self.folder}` (resume=True in Python)"
            )
            raise RequestError(f"{self.folder} has no labels yet: it {how}", code="not_finished")
        rows = []
        for where, value in read_rows(self.folder / LABELS):
            try:
                row = LabelRow.model_validate(value)
            except pydantic.ValidationError as error:
                raise RequestError(f"{where}: {first_error(error)}", code="bad_data") from None
            self._check(row, where)
            rows.append(row)
        if [row.id for row in rows] != self.ids:
            raise RequestError(f"{self.folder / LABELS}: rows were added, removed or moved", code="bad_data")
        assert self.end is not None
        found = [self.task.label_names[number] for number in self.end.labels]
        return [row.model_copy(update={"found": label}) for row, label in zip(rows, found, strict=True)]

    def _check(self, row: LabelRow, where: str) -> None:
        names = self.task.label_names
        if row.label not in names or not list(row.probs) == list(row.context_probs) == names:
            raise RequestError(
                f"{where}: the labels of this run are {', '.join(names)}, in this order", code="bad_data"
            )
        for field, probs in (("probs", row.probs), ("context_probs", row.context_probs)):
            if abs(sum(probs.values()) - 1) > MAX_ROUNDING:
                raise RequestError(f"{where}: {field}: do not sum to 1", code="bad_data")

    def examples(self, others: list[Example] | None = None) -> list[Example]:
        """The labelled examples in order, from the run's folder or selected from `others`, the data read again.

        Raises RequestError if they are missing or differ from those of the search.
        """
        kept = self.folder / EXAMPLES
        if others is None and not kept.is_file():
            raise RequestError(
                f"{self.folder} does not hold its examples: put {EXAMPLES} back; `icm export --data FILE` and `icm "
                "train sft --data FILE` read them from the data file",
                code="no_data",
            )
        known = {e.id: e for e in (read_examples(kept, self.task) if others is None else others)}
        found = [known[name] for name in self.ids if name in known]
        where = str(kept) if others is None else "the data"
        if len(found) < len(self.ids):
            raise RequestError(
                f"{where}: not the examples that {self.folder} labelled: {counted(len(known), 'row')} read, with "
                f"{len(found):,} of its {counted(len(self.ids), 'example')}",
                code="bad_data",
            )
        if digest(found, searched_fields(found, self.task)) != self.header.data:
            raise RequestError(
                f"{where}: not the examples that {self.folder} labelled (a changed text, group, or field that a rule "
                "compares)",
                code="bad_data",
            )
        return found


def _inner(folder: Path) -> str:
    inner = sorted(path.parent.name for path in folder.glob(f"*/{JOURNAL}")) if folder.is_dir() else []
    return f"; its folders {', '.join(inner[:5])} do" if inner else ""
