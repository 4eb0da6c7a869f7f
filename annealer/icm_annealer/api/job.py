"""One labelling job: checks the request, runs the search, and writes the files of the run."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol

from icm_annealer.api.label_result import LabelResult
from icm_annealer.data.examples import Example, Loaded
from icm_annealer.data.given_labels import GivenLabels
from icm_annealer.data.task import Task
from icm_annealer.labelling.budget import NO_BUDGET, Budget
from icm_annealer.labelling.label_dataset import label_dataset
from icm_annealer.labelling.rehearsed_search import rehearsed_search
from icm_annealer.runs.directory import SCORER_LOG, SKIPPED, RunDir
from icm_annealer.runs.experiment import own_experiment
from icm_annealer.runs.schema.metrics import RowCounts
from icm_annealer.runs.schema.rows import SkippedRow
from icm_annealer.scoring.forecast import Rehearsed
from icm_annealer.scoring.pass_event import PassEvent
from icm_annealer.scoring.passes import Scorer, check_request
from icm_annealer.scoring.rehearsal import Rehearsal
from icm_annealer.search.problem import problem_of
from icm_annealer.searches.settings import Settings
from icm_client.contract.errors import IcmError, RequestError
from icm_client.text.counts import counted

OpenScorer = Callable[[Callable[[str], None], Callable[[str], None], Path | None], AbstractAsyncContextManager[Scorer]]
"""Opens a scorer. The arguments are `status`, `note` and `log` of `scorers.kind.Opening`."""


class JobProgress(Protocol):
    """What shows a job while it runs, as a context; `RunProgress` does."""

    def __enter__(self) -> object: ...

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def expect(self, total_steps: float) -> None:
        """The number of passes that the search will take, about; 0 if it is not known."""

    def status(self, text: str) -> None:
        """What is happening now."""

    def note(self, text: str) -> None:
        """What the user should know."""

    def on_pass(self, event: PassEvent) -> None:
        """A pass was answered."""


EXCESS = 4.0
"""Times the passes of a search with default options at which a user is warned."""
_written: set[Path] = set()
"""The folders that jobs of this process are writing."""


@dataclass(frozen=True)
class LabelJob:
    """The examples to label, the settings, and the output folder."""

    task: Task
    loaded: Loaded
    examples: Sequence[Example]
    """The examples of `loaded` to label, in order."""
    settings: Settings
    open_scorer: OpenScorer
    folder: RunDir
    resume: bool = False
    overwrite: bool = False
    experiment: str | None = None
    """The name under which the scorer counts this work; None is one of the folder's own."""
    start: Mapping[str, str] | None = None
    """Labels to start from, by example id; None leaves the start to the search."""
    budget: Budget = NO_BUDGET
    """The most that the search may cost over all processes that work on the run."""

    @property
    def counted_as(self) -> str:
        """The name under which the scorer counts this work."""
        return self.experiment or own_experiment(self.folder.path)

    def prepare(self) -> None:
        """Checks the request and prepares the folder. Starts nothing. Raises RequestError."""
        self.check()
        self.folder.prepare(resume=self.resume, overwrite=self.overwrite)
        if self.loaded.skipped:
            bad = (SkippedRow(where=one.where, what=one.what, row=one.row) for one in self.loaded.skipped)
            self.folder.write_rows(SKIPPED, bad)

    def check(self) -> None:
        """Checks the request. Makes and starts nothing. Raises RequestError."""
        check_request(self.task, self.counted_as)
        self.budget.check(self.settings)
        given = self._given
        self.settings.check_given(
            has_rates=bool(self.task.rates), has_known=bool(given.known), has_start=given.start is not None
        )
        if self.task.rates or given.known:  # contradictions are an error before anything is started
            problem_of(self.task, self.examples, self.settings.objective(), self.settings.plan_kind(), given)

    @property
    def excess(self) -> str:
        """A sentence if the search's options make it take far more passes than its defaults, since nothing else would
        say so before the end; else empty."""
        kind, num = self.settings.kind, len(self.examples)
        expected, usual = self.settings.expected_passes(num), kind.expected_passes(kind.options(), num)
        if not expected or not usual or expected.num < EXCESS * usual.num:
            return ""
        return (
            f"these options make about {expected.num:,.0f} passes of the search, {expected.num / usual.num:.0f} times "
            "as many as its defaults: --dry-run counts their tokens first, --max-tokens ends the search earlier"
        )

    async def run(self, progress: JobProgress) -> LabelResult:
        """Opens the scorer, searches, and writes the results. Call `prepare` first.

        Raises IcmError. The journal then holds all answers so far, and a job with `resume` continues from there. If
        nothing was answered, the run's files are removed, and those of a run that it was to replace are put back.
        """
        answered = False

        def on_pass(event: PassEvent) -> None:
            nonlocal answered
            if not answered:
                self.folder.begun()
            answered = True
            progress.on_pass(event)

        expected = self.settings.expected_passes(len(self.examples))
        with alone(self.folder), progress:
            progress.expect(expected.num if expected else 0)
            try:
                async with self.open_scorer(progress.status, progress.note, self.folder / SCORER_LOG) as scorer:
                    progress.status(f"searching labels for {counted(len(self.examples), 'example')}")
                    labelling = await label_dataset(
                        self.folder,
                        self.examples,
                        self.task,
                        scorer,
                        self.settings,
                        given=self._given,
                        resume=self.resume,
                        on_pass=on_pass,
                        experiment=self.counted_as,
                        rows=self._rows,
                        budget=self.budget,
                        on_cut=lambda fit: progress.note(f"contexts are cut: {fit}"),
                    )
            except IcmError:
                if not answered and not self.resume:
                    self.folder.forget()
                raise
        return LabelResult(
            self.folder.path,
            labelling.alarms,
            self.examples,
            self.loaded.gold,
            had_ended=labelling.had_ended,
            needed=labelling.run.needed.text(),
        )

    async def rehearse(self, rehearsal: Rehearsal) -> Rehearsed:
        """Does the same work with a rehearsal; see `rehearsed_search`."""
        return await rehearsed_search(rehearsal, self.task, self.examples, self.settings, self._given, self.budget)

    @property
    def _given(self) -> GivenLabels:
        return GivenLabels(self.loaded.known, self.start).of(self.examples)

    @property
    def _rows(self) -> RowCounts:
        return RowCounts(
            read=len(self.loaded.examples) + len(self.loaded.skipped),
            blank_lines=self.loaded.num_blank_lines,
            labelled=len(self.examples),
            left_out=len(self.loaded.examples) - len(self.examples),
            skipped=len(self.loaded.skipped),
        )


@contextlib.contextmanager
def alone(folder: RunDir) -> Iterator[None]:
    """Refuses a folder that another thread of this process is writing. Releases the folder's lock at the end."""
    place = folder.path.resolve()
    if place in _written:
        raise RequestError(f"{folder.path}: a run of this program is writing there", code="run_busy")
    _written.add(place)
    try:
        yield
    finally:
        _written.discard(place)
        folder.release()
