"""A run read back from its folder: what was searched, how far it came, what it found. No gold is read here."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
from pydantic import BaseModel, ConfigDict, Field, field_validator

from icm_annealer.core.objective import MEASURES, unit_of_u
from icm_annealer.data.examples import Example, digest
from icm_annealer.data.rows import read_rows
from icm_annealer.data.task import Task
from icm_annealer.runs.costs import read_costs
from icm_annealer.runs.directory import EVALUATION, EXAMPLES, JOURNAL, LABELS, METRICS
from icm_annealer.runs.examples_file import read_examples
from icm_annealer.runs.journal import FORMAT, is_being_written, read_ends
from icm_annealer.runs.journal_lines import Shape, first_wrong
from icm_annealer.runs.schema import read_evaluation, read_metrics
from icm_client.contract.errors import RequestError

State = Literal["running", "stopped", "finished", "failed"]
MAX_ROUNDING = 1e-2
"""By so much the probabilities of an example may miss 1."""


class Row(BaseModel):
    """One line of `labels.jsonl`, as `Run.rows` wrote it; a label may have been corrected since."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False)

    id: str
    label: str
    probs: dict[str, Annotated[float, Field(ge=0, le=1)]]
    label_mass: float = Field(ge=0)
    margin: float
    group: str | None
    run: str


class _Header(BaseModel):
    """The journal's first line."""

    kind: Literal["start"]
    format: int
    settings: dict[str, Any]
    task: Task
    data: str
    model: dict[str, str]
    ids: list[str]

    @field_validator("settings")
    @classmethod
    def _has_a_measure(cls, settings: dict[str, Any]) -> dict[str, Any]:
        if settings.get("measure") not in (None, *MEASURES):
            raise ValueError(f"measure is none of {', '.join(MEASURES)}")
        return settings


@dataclass(frozen=True)
class RunRecord:
    """One search's folder. Create it with `read`; what is large is read when it is asked for."""

    folder: Path
    task: Task
    """As far as the search saw it: without the gold field, and without what is for people."""
    settings: dict[str, Any]
    model: dict[str, Any]
    """Name, digest, dtype and engine of the model that found the labels."""
    ids: list[str]
    data: str
    """The digest of all that the search saw of the data."""
    last: dict[str, Any]
    """The journal's last line: the end, or the last pass that was answered."""

    @classmethod
    def read(cls, folder: Path) -> RunRecord:
        """Raises RequestError if there is no run, or one that is not to be read."""
        path = folder / JOURNAL
        if not path.is_file():
            raise RequestError(f"{folder} holds no run (there is no {JOURNAL})" + _inner(folder), code="no_run")
        first, last = read_ends(path)
        try:
            header = _Header.model_validate(first)
            if last != first:
                Shape(len(header.ids), len(header.task.labels)).check(last)
        except pydantic.ValidationError as error:
            raise RequestError(f"{path}, line 1: {first_wrong(error)}", code="bad_run") from None
        except ValueError as error:
            raise RequestError(
                f"{path}, last line: {error}; the file was changed or damaged. Without that line, `icm run ... "
                "--resume` asks again",
                code="bad_run",
            ) from None
        if header.format != FORMAT:
            raise RequestError(f"{path} is a journal of another version of this program", code="bad_run")
        return cls(folder, header.task, header.settings, header.model, header.ids, header.data, last)

    @property
    def name(self) -> str:
        return self.folder.resolve().name

    @property
    def is_finished(self) -> bool:
        return self.last.get("kind") == "end" and (self.folder / LABELS).is_file()

    @property
    def state(self) -> State:
        """`failed` is finished with a warning: the labels are probably not what was wanted."""
        if not self.is_finished:
            return "running" if is_being_written(self.folder / JOURNAL) else "stopped"
        return "failed" if any(alarm["level"] == "warning" for alarm in self.alarms) else "finished"

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """`metrics.json`'s part of this search; empty if there is none."""
        metrics = read_metrics(self.folder / METRICS)
        seeds: list[dict[str, Any]] | None = metrics.get("seeds")
        return seeds[0] if seeds else metrics  # a demo with one seed has the search's own figures in there

    @property
    def alarms(self) -> list[dict[str, str]]:
        """Code, level, saw, try_; with the code alone, as a warning, if a run was stopped before it wrote them all."""
        found = self.metrics.get("alarms") or [{"code": code} for code in self.last.get("alarms", [])]
        usual = {"code": "", "level": "warning", "saw": "", "try_": ""}
        return [{key: str(alarm.get(key, usual[key])) for key in usual} for alarm in found]

    @property
    def u(self) -> float | None:
        """U of the labels found, or of the last pass that weighed labels."""
        u = self.last.get("u")
        return float(u) if isinstance(u, int | float) else None

    @property
    def u_unit(self) -> str:
        return unit_of_u(self.settings.get("measure"))

    @property
    def label_rates(self) -> dict[str, float]:
        """The share of each label in the labels found, or in the last pass; empty if there is none yet."""
        labels, names = self.last.get("labels"), self.task.label_names
        if isinstance(labels, list) and labels:
            return {name: labels.count(number) / len(labels) for number, name in enumerate(names)}
        return dict(zip(names, self.last.get("label_rates") or [], strict=False))

    @cached_property
    def computed_tokens(self) -> int:
        """Of all processes that worked on the run."""
        return sum(int(cost.get("computed_tokens", 0)) for cost in self.costs)

    @cached_property
    def costs(self) -> list[dict[str, Any]]:
        """A line a pass that a scorer answered."""
        return read_costs(self.folder)

    @cached_property
    def evaluation(self) -> dict[str, Any]:
        """What `icm eval` wrote last; empty if it was not called."""
        return read_evaluation(self.folder / EVALUATION)

    def rows(self) -> list[Row]:
        """The labels, in the examples' order. Raises RequestError if the run has not ended, or naming a broken line."""
        if not self.is_finished:
            how = "is still running" if self.state == "running" else "was stopped before its end: go on with --resume"
            raise RequestError(f"{self.folder} has no labels yet: it {how}", code="not_finished")
        rows = []
        for where, value in read_rows(self.folder / LABELS):
            try:
                row = Row.model_validate(value)
            except pydantic.ValidationError as error:
                raise RequestError(f"{where}: {first_wrong(error)}", code="bad_data") from None
            if row.label not in self.task.labels or list(row.probs) != self.task.label_names:
                names = ", ".join(self.task.label_names)
                raise RequestError(f"{where}: the labels of this run are {names}, in this order", code="bad_data")
            if abs(sum(row.probs.values()) - 1) > MAX_ROUNDING:
                raise RequestError(f"{where}: probs: do not sum to 1", code="bad_data")
            rows.append(row)
        if [row.id for row in rows] != self.ids:
            raise RequestError(f"{self.folder / LABELS}: rows were added, removed or moved", code="bad_data")
        return rows

    def examples(self, others: list[Example] | None = None) -> list[Example]:
        """What was labelled, in order: from the run's folder, or picked from `others`, its data read again.

        Raises RequestError if they are not there, or are not those that the search saw.
        """
        kept = self.folder / EXAMPLES
        if others is None and not kept.is_file():
            raise RequestError(
                f"{self.folder} does not hold its examples: name its data file with --data", code="no_data"
            )
        known = {e.id: e for e in (read_examples(kept, self.task) if others is None else others)}
        found = [known[name] for name in self.ids if name in known]
        where = str(kept) if others is None else "the data"
        if len(found) < len(self.ids):
            raise RequestError(
                f"{where}: not the examples that {self.folder} labelled: {len(known):,} rows were read, which hold "
                f"{len(found):,} of its {len(self.ids):,} examples",
                code="bad_data",
            )
        if digest(found) != self.data:
            raise RequestError(
                f"{where}: not the examples that {self.folder} labelled (other fields or a changed text; "
                "if the task is your own, name it with --task)",
                code="bad_data",
            )
        return found


def _inner(folder: Path) -> str:
    inner = sorted(path.parent.name for path in folder.glob(f"*/{JOURNAL}")) if folder.is_dir() else []
    return f"; its folders {', '.join(inner[:5])} do" if inner else ""
