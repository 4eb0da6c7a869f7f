"""Follows a run's files and sends their contents to a tracker until the run ends."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from icm_annealer.runs.costs import cost_of
from icm_annealer.runs.directory import COSTS, JOURNAL, TRACKING, RunDir
from icm_annealer.runs.journal_lines import Shape
from icm_annealer.runs.record import RunRecord
from icm_annealer.runs.schema.base import read_file
from icm_annealer.runs.schema.journal import PassLine
from icm_annealer.runs.schema.state import TrackingState
from icm_annealer.tracking.base import Tracker
from icm_annealer.tracking.records import TrackedStep, cost_step, params_of, pass_step, result_metrics
from icm_annealer.tracking.target import Target
from icm_client.contract.errors import RequestError


class Follower:
    """Shows a tracker each line of a run's journal and costs once, also over several processes.

    `tracking.json` holds its position and the run's key in the tracker. A new run in the folder, or another tracker,
    gets a new key.
    """

    def __init__(self, folder: RunDir, target: Target):
        self._folder, self._target = folder, target
        self._tracker: Tracker | None = None
        self._key = ""
        self._journal, self._costs = FileTail(folder / JOURNAL), FileTail(folder / COSTS)
        self._last = 0
        self._shape = Shape(0, 0)

    def look(self) -> None:
        """Shows what is new. Raises whatever the tracker does."""
        if self._tracker is None and not self._begin():
            return
        is_new = False
        for content in self._journal.lines():
            if step := self._pass_step(content):
                self._show(step)
                self._last, is_new = step.number, True
        for content in self._costs.lines():
            if cost := cost_of(content, str(self._folder / COSTS)):
                self._show(cost_step(cost, self._last))
                is_new = True
        if is_new:
            self._save()

    def end(self) -> None:
        """The process that ran is over: shows the rest, and how it ended."""
        self.look()
        if self._tracker is None:
            return
        record = RunRecord.read(self._folder.path)
        if record.is_finished and record.metrics:
            self._show(TrackedStep(self._last, result_metrics(record.metrics)))
        alarms = ", ".join(alarm.code for alarm in record.alarms)
        facts = {"verdict": record.verdict.words if record.verdict else "", "alarms": alarms}
        self._tracker.end(record.state, {name: fact for name, fact in facts.items() if fact})

    def _begin(self) -> bool:
        """False as long as there is no run to show."""
        if next(FileTail(self._folder / JOURNAL).lines(), None) is None:
            return False
        header = RunRecord.read(self._folder.path).header
        self._shape = Shape.of(header)
        state = read_file(self._folder / TRACKING, TrackingState)
        self._tracker = self._target.tracker()
        if state is not None and state.target == self._target.shown():
            self._key, self._last = state.key, state.last
            self._journal.offset, self._costs.offset = state.journal, state.costs
            self._tracker.resume(self._key)
        else:
            self._key = self._tracker.begin(self._folder.path.resolve().name, params_of(header))
            next(self._journal.lines())  # the header
            self._save()
        return True

    def _pass_step(self, content: bytes) -> TrackedStep | None:
        """None for the journal's end. Raises RequestError for a damaged line."""
        try:
            line = self._shape.line(content)
        except ValueError as error:
            raise RequestError(f"{self._folder / JOURNAL}: {error}; the file was changed or damaged") from None
        return pass_step(line) if isinstance(line, PassLine) else None

    def _show(self, step: TrackedStep) -> None:
        assert self._tracker is not None
        if step.metrics:
            self._tracker.log(step.number, step.metrics)

    def _save(self) -> None:
        state = TrackingState(
            target=self._target.shown(),
            key=self._key,
            last=self._last,
            journal=self._journal.offset,
            costs=self._costs.offset,
        )
        self._folder.write(TRACKING, state)


class FileTail:
    """The lines of a file that grows, each once, and only when it is whole."""

    def __init__(self, path: Path):
        self._path = path
        self.offset = 0
        """Bytes that were handed out."""

    def lines(self) -> Iterator[bytes]:
        """What has been added; nothing if the file is not there."""
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            return
        with file:
            # A search that goes on beyond its budget drops the lines of its end.
            self.offset = min(self.offset, file.seek(0, os.SEEK_END))
            file.seek(self.offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self.offset += len(line)
                yield line


def follow(follower: Follower, wait: Callable[[], bool]) -> None:
    """Looks again and again; `wait` pauses, and returns whether the run is over."""
    while not wait():
        follower.look()
    follower.end()
