"""What one way to label many rows would cost, from rehearsals of a part of the work. Nothing is computed for it."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from icm_annealer.data.bad_rows import BadRows
from icm_annealer.data.examples import first_of
from icm_annealer.data.given_labels import GivenLabels
from icm_annealer.extending.chunks import Chunk, Source, chunked, examples_of
from icm_annealer.extending.core import Core
from icm_annealer.extending.extend import By, chunk_rows_of, core_logprobs, most_core_reads
from icm_annealer.extending.jobs.batches import search_of, shared_of
from icm_annealer.extending.jobs.growth import Growth
from icm_annealer.extending.jobs.own_search import OwnSearch
from icm_annealer.extending.settings import ExtendSettings
from icm_annealer.extending.spread import Spread
from icm_annealer.extending.survey import Survey
from icm_annealer.labelling.rehearsed_search import rehearsed_search
from icm_annealer.scoring.forecast import Rehearsed, TokenRange, rehearsals
from icm_annealer.scoring.passes import Scorer
from icm_annealer.scoring.rehearsal import LongRehearsalError, Rehearsal
from icm_client.contract.wire import ScoreRequest

NUM_ERRORS = 3
"""Standard errors of the number of unclear rows by which the least and the most tokens differ from the usual ones: the
number is known only when all rows are read."""

OpenBy = Callable[[Scorer, Core, ExtendSettings, str], Awaitable[By]]
"""As a mode's `open`."""


class Tokens(NamedTuple):
    """The tokens that an engine computes."""

    number: TokenRange
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
    """It is asked for its model and for lengths only; several, as one."""
    survey: Survey

    def with_contexts(self, num: int) -> Planning:
        """The same with so many contexts."""
        return replace(self, settings=replace(self.settings, contexts=num))


async def cost_of(work: Planning, open_by: OpenBy) -> Tokens:
    """Of the whole extension. Raises the errors of `open_by`."""
    reads = await _Reads.opened(work, open_by)
    return await (_cost_of_searches(work, reads.by) if reads.by.searches else _cost_of_reads(work, open_by, reads))


async def _cost_of_reads(work: Planning, open_by: OpenBy, rehearsed: _Reads) -> Tokens:
    """The part of one scorer is rehearsed: its part of the calibration, as it is, and then other rows, which all
    further ones are like. Each scorer computes the contexts, and has in its cache of reads the part of the sample that
    it has read itself."""
    num_scorers = len(Spread(work.scorer))
    others, num_sampled = [row.text for row in work.survey.others], len(work.survey.sample)
    sample = [row.text for row in work.survey.sample][::num_scorers]
    scorer, num_shared = rehearsed.by.scorer, rehearsed.by.scorer.num_shared
    once = num_scorers * float(await rehearsed.spent_by(sample, *range(scorer.num_contexts)))
    before = rehearsed.computed_tokens
    await core_logprobs(work.core, rehearsed.by, work.settings.seed, num_sampled)
    once += rehearsed.computed_tokens - before
    if not others:
        return Tokens(TokenRange.exactly(once), rehearsed.requests, once)
    num, share = work.survey.num_rows - num_sampled / num_scorers, work.settings.share_read_again
    shared = [await rehearsed.spent_by(others, context) / len(others) for context in range(num_shared)]
    once += num * float(np.mean(shared))
    a_row = sum(shared) - float(np.mean(shared))
    again = TokenRange.exactly(num * share * a_row)
    if share and scorer.num_contexts > num_shared:
        own = await _cost_of_own_shots(work, open_by, rehearsed, sample, num * share / num_scorers, shared[0])
        again, a_row = again + own.times(num_scorers), a_row + own.usual * num_scorers / (num * share)
    error = NUM_ERRORS * num * a_row * math.sqrt(share * (1 - share) / num_sampled)
    least, most = max(again.least - error, 0.0), again.most + error
    whole = TokenRange(once + again.usual, once + least, once + most)
    return Tokens(whole, rehearsed.requests, once)


async def _cost_of_own_shots(
    work: Planning, open_by: OpenBy, rehearsed: _Reads, sample: Sequence[str], num: float, own: float
) -> TokenRange:
    """Of `num` unclear rows of `own` tokens each, behind shots of their own, after those of the sample. The more of
    them begin with the same shots, the less they cost: the most is for rows like any, the least for rows as alike as
    can be; unclear rows are often alike."""
    scorer, share = rehearsed.by.scorer, work.settings.share_read_again
    others, context = [row.text for row in work.survey.others], scorer.num_contexts - 1
    alike = sorted(others, key=scorer.neighbours)[: math.ceil(share * len(others))]
    again = await _Reads.opened(work, open_by)
    await again.spent_by(sample, context)
    of_any = await rehearsed.growth(others[: math.ceil(num)], context, own, len(sample))
    of_alike = await again.growth([*alike[::2], *alike[1::2]][: math.ceil(num)], context, own, len(sample))
    least = of_alike.total(num)
    return TokenRange((least + of_any.total(num)) / 2, least, of_any.most(num))


class _Reads:
    """Reads of rows, rehearsed one after the other."""

    def __init__(self, by: By, rehearsal: Rehearsal):
        self.by, self._rehearsal = by, rehearsal

    @classmethod
    async def opened(cls, work: Planning, open_by: OpenBy) -> _Reads:
        rehearsal = Rehearsal(work.scorer)
        return cls(await open_by(rehearsal, work.core, work.settings, "default"), rehearsal)

    @property
    def requests(self) -> Sequence[ScoreRequest]:
        return self._rehearsal.requests

    @property
    def computed_tokens(self) -> int:
        """Of all reads so far."""
        return self._rehearsal.usage.computed_tokens

    async def spent_by(self, texts: Sequence[str], *contexts: int) -> int:
        """The tokens of these texts behind these contexts."""
        before = self.computed_tokens
        if texts:
            await self.by.scorer.score(texts, contexts)
        return self.computed_tokens - before

    async def growth(self, texts: Sequence[str], context: int, own: float, before: int) -> Growth:
        half = len(texts) // 2
        first, second = await self.spent_by(texts[:half], context), await self.spent_by(texts[half:], context)
        return Growth(first, second, half, len(texts), own, before)


async def _cost_of_searches(work: Planning, by: By) -> Tokens:
    """The first batch is rehearsed; the others cost as much."""
    chunk = _first_chunk(work, chunk_rows_of(by, work.survey.num_rows))
    search = search_of(chunk, work.core, shared_of(work.core, work.settings.seed))
    a_batch = await _cost_of_search(work, search, len(chunk.rows))
    return Tokens(a_batch.times(work.survey.num_rows / len(chunk.rows)))


async def _cost_of_search(work: Planning, search: OwnSearch, num_rows: int) -> TokenRange:
    """If a search over so many rows is too long to be rehearsed, each costs what an example of the core did."""
    core, given = work.core, GivenLabels(search.known)

    async def rehearse(rehearsal: Rehearsal) -> Rehearsed:
        return await rehearsed_search(rehearsal, core.task, search.examples, core.settings, given)

    try:
        return (await rehearsals(work.scorer, rehearse, further_s=0.0)).tokens
    except LongRehearsalError:
        return TokenRange.exactly(num_rows * core.tokens_an_example)


def _first_chunk(work: Planning, num_rows: int) -> Chunk:
    source, without = work.source, set(work.survey.too_long)
    bad = BadRows(source.name, source.task, skip=True)
    return next(chunked(source.rows(bad), source, without=without, size=num_rows))


async def cost_of_check(work: Planning, num: int) -> TokenRange:
    """Of a search over `num` rows of the sample."""
    examples = first_of(examples_of(work.survey.sample), num)
    return await _cost_of_search(work, OwnSearch.of(examples, {}, work.core), num)


async def cost_of_tuned(work: Planning) -> float:
    """Of a tuned model, which reads every row without shots, and those of the calibration twice."""
    rows = [row.text for row in work.survey.sample]
    core = [example.text for example in work.core.examples]
    counts = await work.scorer.count_tokens([*rows, *core], special_tokens=work.core.task.special_tokens)
    a_row, an_example = np.mean(counts[: len(rows)]), np.mean(counts[len(rows) :])
    num_core = min(len(core), most_core_reads(len(rows)))
    return float((work.survey.num_rows + len(rows)) * a_row + num_core * an_example)
