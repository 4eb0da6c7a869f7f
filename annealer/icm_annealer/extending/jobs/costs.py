"""What one way to label many rows would cost, from rehearsals of a part of the work. Nothing is computed for it."""

from __future__ import annotations

import contextlib
import math
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from icm_annealer.data.bad_rows import BadRows
from icm_annealer.data.examples import first_of
from icm_annealer.extending.chunks import Chunk, Source, chunked, examples_of
from icm_annealer.extending.core import Core
from icm_annealer.extending.extend import By, chunk_rows_of, core_logprobs, most_core_reads
from icm_annealer.extending.jobs.own_search import searched
from icm_annealer.extending.settings import ExtendSettings
from icm_annealer.extending.survey import Survey
from icm_annealer.runs.directory import RunDir
from icm_annealer.scoring.passes import Scorer
from icm_annealer.scoring.rehearsal import LongRehearsalError, Rehearsal
from icm_client.contract.wire import ScoreRequest

NUM_REHEARSALS, REHEARSING_S = 2, 60.0
"""A search is rehearsed as often as this, since its passes depend on the answers, or for this long."""


OpenBy = Callable[[Scorer, Core, ExtendSettings, str], Awaitable[By]]
"""As a mode's `open`."""


class Tokens(NamedTuple):
    """The tokens that an engine computes."""

    number: float
    spread: float = 0.0
    """The standard error of the number, since only reading tells how many rows are unclear."""
    requests: Sequence[ScoreRequest] = ()
    """Some of those that were rehearsed."""
    once: float = 0.0
    """The number if every row were read behind one context only."""


@dataclass(frozen=True)
class Planning:
    """The work that is planned."""

    core: Core
    source: Source
    settings: ExtendSettings
    scorer: Scorer
    """It is asked for its model and for lengths only."""
    survey: Survey

    def with_contexts(self, num: int) -> Planning:
        """The same with so many contexts."""
        return replace(self, settings=replace(self.settings, contexts=num))

    async def opened(self, open_by: OpenBy, rehearsal: Rehearsal) -> By:
        """What labels rows, in a rehearsal."""
        return await open_by(rehearsal, self.core, self.settings, "default")


async def cost_of(work: Planning, open_by: OpenBy) -> Tokens:
    """Of the whole extension. Raises the errors of `open_by`."""
    by = await work.opened(open_by, Rehearsal(work.scorer))
    return await (_cost_of_searches(work, by, open_by) if by.searches else _cost_of_reads(work, open_by))


async def _cost_of_reads(work: Planning, open_by: OpenBy) -> Tokens:
    """The calibration is rehearsed as it is, and then other rows, which all further ones are like."""
    texts, others = ([row.text for row in rows] for rows in (work.survey.sample, work.survey.others))
    rehearsal = Rehearsal(work.scorer)
    by = await work.opened(open_by, rehearsal)
    scorer, num_shared = by.scorer, by.scorer.num_shared

    async def spent_by(some: Sequence[str], context: int) -> int:
        before = rehearsal.usage.computed_tokens
        if some:
            await scorer.score(some, [context])
        return rehearsal.usage.computed_tokens - before

    await scorer.score(texts, list(range(scorer.num_contexts)))
    await core_logprobs(work.core, by, work.settings.seed, len(texts))
    once = float(rehearsal.usage.computed_tokens)
    if not others:
        return Tokens(once, 0.0, rehearsal.requests, once)
    # The sample's rows are answered from the scorer's cache of reads when their turn comes.
    num, share = work.survey.num_rows - len(texts), work.settings.share_read_again
    shared = [await spent_by(others, context) / len(others) for context in range(num_shared)]
    once += num * float(np.mean(shared))
    a_row = sum(shared) - float(np.mean(shared))
    again = num * share * a_row
    for context in range(num_shared, scorer.num_contexts):
        # A row has shots of its own, but the more rows there are, the more of them begin with the same shots.
        shown = others[: math.ceil(num * share)]
        half = len(shown) // 2
        begun, more = await spent_by(shown[:half], context), await spent_by(shown[half:], context)
        an_own = more / max(len(shown) - half, 1)
        a_row += an_own
        again += begun + more + (num * share - len(shown)) * an_own
    spread = num * a_row * math.sqrt(share * (1 - share) / len(texts))
    return Tokens(once + again, spread, rehearsal.requests, once)


async def _cost_of_searches(work: Planning, by: By, open_by: OpenBy) -> Tokens:
    """The first batch is rehearsed; the others cost as much. If it takes too long, each row costs what an example of
    the core did."""
    tokens, end = list[int](), time.monotonic() + REHEARSING_S
    chunk = _first_chunk(work, chunk_rows_of(by, work.survey.num_rows))
    for number in range(1, NUM_REHEARSALS + 1):
        rehearsal = Rehearsal(work.scorer, number=number, limit_s=end - time.monotonic())
        searches = (await work.opened(open_by, rehearsal)).searches
        assert searches is not None
        with tempfile.TemporaryDirectory() as place, contextlib.suppress(LongRehearsalError):
            await searches.labeller(RunDir(Path(place))).labelled(chunk)
            tokens.append(rehearsal.usage.computed_tokens)
    a_row = float(np.mean(tokens)) / len(chunk.rows) if tokens else work.core.num_tokens / len(work.core.examples)
    return Tokens(work.survey.num_rows * a_row)


def _first_chunk(work: Planning, num_rows: int) -> Chunk:
    source, without = work.source, set(work.survey.too_long)
    bad = BadRows(source.name, source.task, skip=True)
    return next(chunked(source.rows(bad), source, without=without, size=num_rows))


async def cost_of_check(work: Planning, num: int) -> float:
    """Of a search over `num` rows of the sample."""
    examples = first_of(examples_of(work.survey.sample), num)
    rehearsal = Rehearsal(work.scorer, limit_s=REHEARSING_S)
    with tempfile.TemporaryDirectory() as place:
        try:
            await searched(Path(place), examples, {}, work.core, rehearsal, "default", lambda event: None)
        except LongRehearsalError:
            return num * work.core.num_tokens / len(work.core.examples)
    return rehearsal.usage.computed_tokens


async def cost_of_tuned(work: Planning) -> float:
    """Of a tuned model, which reads every row without shots, and those of the calibration twice."""
    rows = [row.text for row in work.survey.sample]
    core = [example.text for example in work.core.examples]
    counts = await work.scorer.count_tokens([*rows, *core], special_tokens=work.core.task.special_tokens)
    a_row, an_example = np.mean(counts[: len(rows)]), np.mean(counts[len(rows) :])
    num_core = min(len(core), most_core_reads(len(rows)))
    return float((work.survey.num_rows + len(rows)) * a_row + num_core * an_example)
