"""Follows a run's files and shows a tracker what is in them, until the run is over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from icm_annealer.data.json_text import parsed
from icm_annealer.runs.directory import COSTS, JOURNAL, TRACKING, RunDir
from icm_annealer.runs.journal_lines import Shape, first_wrong
from icm_annealer.runs.record import RunRecord
from icm_annealer.runs.schema import read_object
from icm_annealer.tracking.records import Step, cost_step, params_of, pass_step, result_metrics
from icm_annealer.tracking.tracker import Target, Tracker
from icm_client.contract.errors import RequestError


class _Place(BaseModel):
    """What `tracking.json` holds."""

    model_config = ConfigDict(strict=True)

    target: str
    key: str
    last: int = Field(ge=0)
    journal: int = Field(ge=0)
    costs: int = Field(ge=0)


class Follower:
    """Shows a tracker each line of a run's journal and costs once, also over several processes.

    How far it has come, and what the tracker knows the run by, stand in `tracking.json`. A run that is begun anew in
    the folder, or shown elsewhere, is another one.
    """

    def __init__(self, folder: RunDir, target: Target):
        self._folder, self._target = folder, target
        self._tracker: Tracker | None = None
        self._key = ""
        self._journal, self._costs = Tail(folder / JOURNAL), Tail(folder / COSTS)
        self._last = 0
        self._shape = Shape(0, 0)

    def look(self) -> None:
        """Shows what is new. Raises whatever the tracker does."""
        if self._tracker is None and not self._begin():
            return
        is_new = False
        for line in self._journal.lines():
            if step := self._pass_step(line):
                self._show(step)
                self._last, is_new = step.number, True
        for line in self._costs.lines():
            self._show(cost_step(line, self._last))
            is_new = True
        if is_new:
            self._save()

    def end(self) -> None:
        """The process that ran is over: shows the rest, and how it ended."""
        self.look()
        if self._tracker is None:
            return
        record = RunRecord.read(self._folder.path)
        if record.is_finished:
            self._show(Step(self._last, result_metrics(record.metrics)))
        alarms = ", ".join(alarm["code"] for alarm in record.alarms)
        self._tracker.end(record.state, {"alarms": alarms} if alarms else {})

    def _begin(self) -> bool:
        """False as long as there is no run to show."""
        header = first_line(self._folder / JOURNAL)
        if header is None:
            return False
        record = RunRecord.read(self._folder.path)
        self._shape = Shape(len(record.ids), len(record.task.labels))
        place = _place(self._folder / TRACKING)
        self._tracker = self._target.tracker()
        if place is not None and place.target == self._target.shown():
            self._key, self._last = place.key, place.last
            self._journal.offset, self._costs.offset = place.journal, place.costs
            self._tracker.resume(self._key)
        else:
            self._key = self._tracker.begin(self._folder.path.resolve().name, params_of(header))
            self._save()
        return True

    def _pass_step(self, line: dict[str, Any]) -> Step | None:
        """Raises RequestError for a pass that is not as it was written."""
        try:
            if line.get("kind") == "pass":
                self._shape.check(line)
        except ValueError as error:
            raise RequestError(f"{self._folder / JOURNAL}: {error}; the file was changed or damaged") from None
        return pass_step(line)

    def _show(self, step: Step) -> None:
        assert self._tracker is not None
        if step.metrics:
            self._tracker.log(step.number, step.metrics)

    def _save(self) -> None:
        place = {"target": self._target.shown(), "key": self._key, "last": self._last}
        self._folder.write_json(TRACKING, {**place, "journal": self._journal.offset, "costs": self._costs.offset})


class Tail:
    """The lines of a file that grows, each once, and only when it is whole."""

    def __init__(self, path: Path):
        self._path = path
        self.offset = 0
        """Bytes that were handed out."""

    def lines(self) -> Iterator[dict[str, Any]]:
        """What has been added; nothing if the file is not there. A line that is no JSON object is left out."""
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            return
        with file:
            file.seek(self.offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self.offset += len(line)
                if (value := _object(line)) is not None:
                    yield value


def first_line(path: Path) -> dict[str, Any] | None:
    """A file's first line once it is whole, else None."""
    return next(Tail(path).lines(), None)


def follow(follower: Follower, wait: Callable[[], bool]) -> None:
    """Looks again and again; `wait` pauses, and tells whether the run is over."""
    while not wait():
        follower.look()
    follower.end()


def _place(path: Path) -> _Place | None:
    """None if there is no such file. Raises RequestError in one line."""
    known = read_object(path)
    try:
        return _Place.model_validate(known) if known else None
    except pydantic.ValidationError as error:
        raise RequestError(
            f"{path}: {first_wrong(error)}; the file was changed or damaged: without it, the run is shown as a new one"
        ) from None


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        value = parsed(line.decode())
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
