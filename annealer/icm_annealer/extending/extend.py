"""One extension in one folder: the survey of the data, the calibration, and the labelling of chunks, resumed
anywhere."""

from __future__ import annotations

import asyncio
import math
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import NamedTuple

import numpy as np

from icm_annealer.core.arrays import Array
from icm_annealer.core.objective import LabelScale
from icm_annealer.data.bad_rows import BadRows
from icm_annealer.data.row_reader import ReadRow
from icm_annealer.extending.alarms import NUM_PARTS
from icm_annealer.extending.calibration import Calibration, CoreFigures, calibrated_by, core_figures
from icm_annealer.extending.chunks import CHUNK_ROWS, Chunk, Source, chunked, known_of
from icm_annealer.extending.contexts import Contexts, draw_contexts
from icm_annealer.extending.core import Core
from icm_annealer.extending.journal import SKIPPED, ExtensionJournal
from icm_annealer.extending.neighbours import NeighbourScorer
from icm_annealer.extending.row_scorer import ContextScorer, RowScorer, score_in_parts
from icm_annealer.extending.rows import LabelledChunk, Labeller, RowLabeller
from icm_annealer.extending.settings import ExtendSettings
from icm_annealer.extending.spread import Spread
from icm_annealer.extending.survey import check_source, survey
from icm_annealer.runs.costs import write_cost
from icm_annealer.runs.directory import RunDir
from icm_annealer.runs.schema.extension import CalibrationLine, ChunkLine, ExtensionHeader, ExtensionSettings
from icm_annealer.runs.schema.journal import ContextWindow
from icm_annealer.runs.schema.rows import SkippedRow
from icm_annealer.scoring.passes import Scorer, check_request, window_of
from icm_client.contract.errors import RequestError
from icm_client.contract.wire import ModelIdentity, Usage

IN_FLIGHT = 2
"""Chunks that are scored at the same time by each scorer, so that it has work while rows are read and written."""
LEAST_CORE_READS, LEAST_CHUNK_ROWS = 32, 128


class Progress(NamedTuple):
    """Called while an extension is made."""

    say: Callable[[str], None]
    """With what happens now."""
    expect: Callable[[int], None]
    """With the number of rows to label."""
    rows: Callable[[int, Usage], None]
    """With the number of further rows that are labelled and what they cost."""


class Searches(NamedTuple):
    """Independent searches, one a chunk."""

    rows: int
    """Of a search, about."""
    labeller: Callable[[RunDir], Labeller]
    """For the folder of an extension."""


NO_CALIBRATION = CalibrationLine(
    order=[],
    means=[],
    factors=[],
    first_shift=[],
    shift=[],
    unclear_below=0.0,
    num_core=0,
    num_core_alike=0,
    log_mass_below=-sys.float_info.max,
    log_mass_mean=0.0,
    log_mass_sd=0.0,
    margin_below=0.0,
    num_sampled=0,
    num_sampled_alike=0,
)
"""Of searches: they need none."""


class By(NamedTuple):
    """What labels rows."""

    scorer: RowScorer
    model: ModelIdentity
    tokens: Scorer | None = None
    """What counts the tokens of rows that may be too long; None if none is."""
    most_row_tokens: int = 0
    """The most tokens of a row, with its separator; without `tokens` any number."""
    contexts: Contexts | None = None
    """None for a tuned model, and for searches."""
    window: ContextWindow | None = None
    searches: Searches | None = None
    """What labels rows by searches of their own, without contexts."""
    num_scorers: int = 1
    """How many scorers chunks are spread over."""


async def by_contexts(scorer: Scorer, core: Core, settings: ExtendSettings, experiment: str) -> By:
    """Rows behind contexts that are drawn from the core. Raises the scorer's errors, and RequestError if no context
    fits the window."""
    check_request(core.task, experiment)
    model = await scorer.model()
    contexts = await draw_contexts(scorer, core, settings, model)
    spread = Spread(scorer)
    rows = ContextScorer(spread, core, contexts, model.identity, experiment)
    window = ContextWindow(**window_of(model))
    return By(rows, model.identity, scorer, contexts.most_row_tokens, contexts, window, num_scorers=len(spread))


async def by_neighbours(scorer: Scorer, core: Core, settings: ExtendSettings, experiment: str) -> By:
    """As `by_contexts`, where the last of the contexts, of two at least, is one of each row's own. Raises the same
    errors."""
    by = await by_contexts(scorer, core, replace(settings, contexts=settings.contexts - 1), experiment)
    assert by.contexts is not None
    assert isinstance(by.scorer, ContextScorer)
    return by._replace(scorer=NeighbourScorer(by.scorer, core, by.contexts))


@dataclass(frozen=True)
class Extension:
    """What is to be labelled, by what, and where. The folder is locked and prepared."""

    core: Core
    source: Source
    by: By
    settings: ExtendSettings
    folder: RunDir
    progress: Progress
    chunk_rows: int | None = None
    """Rows of a chunk, on which labels do not depend; None is a `NUM_PARTS`th of all rows, within limits."""
    clock: Callable[[], float] = time.monotonic

    async def run(self) -> ExtensionJournal:
        """Labels all rows, from the first that is not labelled on, and returns the journal, closed.

        Raises RequestError for data that cannot be used, or that are not those that the journal began with, and the
        scorer's errors.
        """
        check_source(self.source)
        journal = ExtensionJournal.resume(self.folder.path)
        try:
            sample = None
            if journal is None:
                header, sample = await self._surveyed()
                journal = ExtensionJournal.begin(self.folder.path, header)
            else:
                self._check_begun(journal.header)
            line, searches = journal.calibration, self.by.searches
            if line is None:
                rows = sample or list(self.sampled(journal.header).values())
                line = NO_CALIBRATION if searches else await self._calibrated(rows)
                journal.write_calibration(line)
                self.folder.begun()
            self.progress.expect(journal.header.num_rows)
            if searches:
                labeller = searches.labeller(self.folder)
            else:
                labeller = RowLabeller(self.core.task, self.by.scorer, *_of_line(line))
            await self._label(journal, labeller)
        finally:
            if journal is not None:
                journal.close()
        return journal

    async def _surveyed(self) -> tuple[ExtensionHeader, list[ReadRow]]:
        """Reads the data once; returns the header and the sample."""
        self.progress.say("reading the rows")
        by = self.by
        found = await survey(self.source, by.tokens, by.most_row_tokens, self.settings, self.progress.say)
        if found.skipped:
            bad = (SkippedRow(where=one.where, what=one.what, row=one.row) for one in found.skipped)
            self.folder.write_rows(SKIPPED, bad)
        header = ExtensionHeader(
            core=self.core.name,
            core_digest=self.core.digest,
            task=self.core.task,
            settings=ExtensionSettings(**asdict(self.settings)),
            model=self.by.model,
            window=self.by.window,
            shots=self._shots(),
            num_rows=found.num_rows,
            num_skipped=len(found.skipped),
            too_long=sorted(found.too_long),
            sampled=[row.number for row in found.sample],
            data=found.digest,
            source=self.source.record,
        )
        return header, found.sample

    def _shots(self) -> list[list[str]]:
        shots = self.by.contexts.shots if self.by.contexts else []
        return [[self.core.examples[number].id for number in some] for some in shots]

    def _check_begun(self, begun: ExtensionHeader) -> None:
        """Raises RequestError if the extension began with something else."""
        now = {
            "another core": (begun.core_digest, self.core.digest),
            "another task": (begun.task.seen(), self.core.task.seen()),
            "other settings": (begun.settings, ExtensionSettings(**asdict(self.settings))),
            "another model": (begun.model, self.by.model),
            "another window": (begun.window, self.by.window),
            "other shots": (begun.shots, self._shots()),
        }
        for another, (before, is_now) in now.items():
            if before != is_now:
                raise RequestError(
                    f"{self.folder.path} was begun with {another}: use what it was begun with, or --overwrite",
                    code="journal",
                )

    async def _calibrated(self, sample: Sequence[ReadRow]) -> CalibrationLine:
        self.progress.say("calibrating by a sample")
        scorer, start = self.by.scorer, self.clock()
        contexts = list(range(scorer.num_contexts))
        answer = await score_in_parts(scorer, [row.text for row in sample], contexts, self.by.num_scorers)
        core, usage = await core_logprobs(self.core, self.by, self.settings.seed, len(sample))
        usage += answer.usage
        seconds = self.clock() - start
        write_cost(self.folder.path, None, seconds, seconds, usage)
        self.progress.rows(0, usage)
        rates, share = self.core.rates, self.settings.share_read_again
        known = known_of(sample, self.core.task)
        made = calibrated_by(answer.logprobs, known, core, self.core.labels, rates, share, scorer.num_shared)
        figures = core_figures(made, core, self.core.labels, answer.logprobs)
        whole = made.scores(answer.logprobs)
        mixed = made.first_scores(answer.logprobs[made.first])
        again = made.is_unclear(mixed)
        mixed[again] = whole[again]
        return CalibrationLine(
            order=made.order,
            means=[scale.means.tolist() for scale in made.scales],
            factors=[scale.factors.tolist() for scale in made.scales],
            first_shift=made.first_shift.tolist(),
            shift=made.shift.tolist(),
            unclear_below=made.unclear_below,
            num_core=figures.num,
            num_core_alike=figures.num_alike,
            log_mass_below=figures.log_mass_below,
            log_mass_mean=figures.log_mass_mean,
            log_mass_sd=figures.log_mass_sd,
            margin_below=figures.margin_below,
            num_sampled=len(sample),
            num_sampled_alike=int((mixed.argmax(axis=1) == whole.argmax(axis=1)).sum()),
        )

    def sampled(self, header: ExtensionHeader) -> dict[int, ReadRow]:
        """The rows of the sample, in its order, read again, by their lines in `LABELS`, counted from 0."""
        wanted, left_out = set(header.sampled), set(header.too_long)
        bad = BadRows(self.source.name, self.source.task, skip=True)
        labelled = (row for row in self.source.rows(bad) if row.number not in left_out)
        found = {row.number: (line, row) for line, row in enumerate(labelled) if row.number in wanted}
        if len(found) < len(wanted):
            raise RequestError(f"{self.source.name}: not the rows that {self.folder.path} began with", code="bad_data")
        return dict(found[number] for number in header.sampled)

    async def _label(self, journal: ExtensionJournal, labeller: Labeller) -> None:
        header = journal.header
        bad = BadRows(self.source.name, self.source.task, skip=True)
        rows = self.source.rows(bad)
        size = self.chunk_rows or chunk_rows_of(self.by, header.num_rows)
        chunks = chunked(rows, self.source, without=set(header.too_long), size=size)
        pending: deque[tuple[Chunk, asyncio.Task[LabelledChunk]]] = deque()
        digest, last = "", self.clock()
        begun = list(journal.chunks)

        async def commit() -> None:
            nonlocal last
            chunk, task = pending.popleft()
            found = await task
            journal.write_chunk(found.labels, found.unlike, **found.figures)
            now = self.clock()
            write_cost(self.folder.path, chunk.number, now - last, now - last, found.usage)
            last = now
            self.progress.rows(len(chunk.rows), found.usage)

        if begun:
            self.progress.say(f"{sum(line.num_rows for line in begun):,} rows are labelled already")
        try:
            for chunk in chunks:
                digest = chunk.digest
                if chunk.number < len(begun):
                    if digest != begun[chunk.number].digest:
                        raise RequestError(
                            f"{self.source.name}: not the rows that {self.folder.path} began with", code="bad_data"
                        )
                    self.progress.rows(len(chunk.rows), Usage())
                    continue
                pending.append((chunk, asyncio.create_task(labeller.labelled(chunk))))
                await asyncio.sleep(0)  # the task sends its request before further rows are read
                if len(pending) >= IN_FLIGHT * self.by.num_scorers:
                    await commit()
            while pending:
                await commit()
        finally:
            for _, task in pending:
                task.cancel()
            # None of them writes after this, and asyncio prints no error of another one that has failed.
            await asyncio.gather(*(task for _, task in pending), return_exceptions=True)
        if digest != header.data:
            raise RequestError(
                f"{self.source.name}: the rows have changed while they were read, or since the beginning: begin again "
                "with --overwrite",
                code="bad_data",
            )


async def core_logprobs(core: Core, by: By, seed: int, num_sampled: int) -> tuple[Array, Usage]:
    """Raw log-probabilities [context, example, label] of the core's examples behind contexts that hold no example of
    their group, NaN elsewhere: of all, or of a random part if that costs more than a sample of `num_sampled`."""
    scorer, logprobs = by.scorer, np.full((by.scorer.num_contexts, len(core.examples), len(core.task.labels)), np.nan)
    shots = dict(enumerate(by.contexts.shots)) if by.contexts else {}
    usage, rng = Usage(), np.random.default_rng(seed)
    for context in range(scorer.num_contexts):
        shown = set(shots[context].tolist()) if context in shots else set()
        groups = {core.examples[number].group for number in shown} - {None}
        left = [k for k, e in enumerate(core.examples) if k not in shown and e.group not in groups]
        most = most_core_reads(num_sampled)
        if len(left) > most:
            left = sorted(rng.choice(left, most, replace=False).tolist())
        if left:
            texts = [core.examples[number].text for number in left]
            answer = await score_in_parts(scorer, texts, [context], by.num_scorers)
            logprobs[context, left] = answer.logprobs[0]
            usage += answer.usage
    return logprobs, usage


def most_core_reads(num_sampled: int) -> int:
    """The most examples of the core that are read behind a context, beside a sample of so many rows."""
    return max(num_sampled // 2, LEAST_CORE_READS)


def chunk_rows_of(by: By, num_rows: int) -> int:
    """Rows of a chunk, of so many."""
    if by.searches:  # all of about the same size, since a small one finds less
        return math.ceil(num_rows / math.ceil(num_rows / by.searches.rows))
    return min(CHUNK_ROWS, max(LEAST_CHUNK_ROWS, num_rows // NUM_PARTS))


def _of_line(line: CalibrationLine) -> tuple[Calibration, CoreFigures]:
    scales = [
        LabelScale(np.array(means), np.array(factors)) for means, factors in zip(line.means, line.factors, strict=True)
    ]
    shifts = np.array(line.first_shift), np.array(line.shift)
    calibration = Calibration(line.order, scales, *shifts, line.unclear_below)
    figures = CoreFigures(
        line.num_core,
        line.num_core_alike,
        line.log_mass_below,
        line.log_mass_mean,
        line.log_mass_sd,
        line.margin_below,
    )
    return calibration, figures


def all_counts(chunks: Sequence[ChunkLine]) -> list[int]:
    """Rows by label, over all chunks."""
    return [sum(counts) for counts in zip(*(chunk.counts for chunk in chunks), strict=True)]
