"""A request's path through the scorer: admit, plan, queue, read, answer."""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager

from icm_client.contract.adapters import with_adapter
from icm_client.contract.errors import BusyError, DeadlineError
from icm_client.contract.prefix_tree import given_texts
from icm_client.contract.wire import MAX_REQUEST_CHARS, ModelInfo, ScoreRequest, ScoreResponse
from icm_server.adapters.registry import Adapters
from icm_server.adapters.version import Version
from icm_server.auth.tenant import ANYONE, Tenant
from icm_server.config import ScoringConfig
from icm_server.engines.base import Engine
from icm_server.read_cache.file import ReadCacheFile
from icm_server.read_cache.memory import ReadCache
from icm_server.scheduling.admission import Admission
from icm_server.scheduling.answers import Answers
from icm_server.scheduling.dispatcher import Dispatcher
from icm_server.scheduling.planned_read import PlannedRead
from icm_server.scheduling.planning_thread import PlanningThread
from icm_server.scheduling.request_metrics import RequestMetrics, outcome_of
from icm_server.scheduling.request_plan import Planner, RequestPlan
from icm_server.scheduling.whole_answer import WholeAnswers
from icm_server.sharing.fair_lock import FairLock
from icm_server.sharing.fair_queue import FairQueue
from icm_server.stats.counters import Counters
from icm_server.stats.history import History
from icm_server.tokens.counting import counts
from icm_server.tokens.prefix_tokens import PrefixTokenizer
from icm_server.tokens.request_tree import check_size

MAX_BURST_TOKENS = 2**13
"""The most tokens that can be saved up for small requests, even if an engine has no limit on the tokens of a step."""


class ScoringService:
    """Scores any number of concurrent requests on one engine, in one event loop."""

    def __init__(
        self,
        engine: Engine,
        config: ScoringConfig | None = None,
        *,
        adapters: Adapters | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        """It closes the engine and the adapters."""
        config = config or ScoringConfig()
        limits = config.limits
        self.engine, self.adapters = engine, adapters or Adapters()
        self.counters = Counters(clock)
        self.history = History(self.counters)
        self.admission = Admission(limits, clock, has_keys=config.has_keys)
        max_reads = self.admission.max_reads
        # Each prompt needs at least one read.
        self.info = info = engine.info.model_copy(update={"max_prompts": min(limits.max_prompts, max_reads)})
        file = (
            ReadCacheFile(config.read_cache_file.expanduser(), config.read_cache_file_bytes)
            if config.read_cache_file
            else None
        )
        self.read_cache = ReadCache(config.read_cache_memory_bytes, file)
        # Savings are limited to one step of the engine.
        burst = min(engine.max_concurrent_tokens // 2, MAX_BURST_TOKENS)
        self.queue = FairQueue[PlannedRead](engine.cache_tokens, config.weights, burst)
        self.dispatcher = Dispatcher(engine, self.queue, self.read_cache, self.counters)
        self._plain, self._special = engine.tokenizer, engine.tokenizer.with_special_tokens()
        plain, special = (
            PrefixTokenizer(
                tokenizer,
                max_prompt_tokens=info.max_prompt_tokens,
                max_request_tokens=limits.max_request_tokens,
            )
            for tokenizer in (self._plain, self._special)
        )
        self._planner = Planner(plain, special, info.max_prompt_tokens, self.read_cache.known, max_reads)
        self._isolated = config.isolate_experiments
        self.planning = PlanningThread(clock)
        self.writing, self.whole_answers = FairLock(clock), WholeAnswers()

    def check_one_more(self, tenant: Tenant = ANYONE) -> None:
        """Raises BusyError if no request of the tenant can be admitted now, so that its body need not be read."""
        try:
            self.admission.check_one_more(tenant)
        except BusyError as error:
            self.counters.nameless(tenant.name).outcomes[outcome_of(error)] += 1
            raise

    @asynccontextmanager
    async def answering(self, request: ScoreRequest, tenant: Tenant = ANYONE) -> AsyncIterator[Answers]:
        """The request's answers as they are computed. Leaving the context cancels the remaining work.

        Raises RequestError, TooLargeError, BusyError or DeadlineError before anything is computed. Iterating over the
        answers raises ScorerError, EngineDiedError or DeadlineError.
        """
        answers = await self.begin(request, tenant)
        try:
            yield answers
        finally:
            answers.close()

    async def score(self, request: ScoreRequest, tenant: Tenant = ANYONE) -> ScoreResponse:
        """All answers, in the order of the prompts. Raises what `begin` and the answers raise."""
        async with self.answering(request, tenant) as answers:
            rows: list[list[float]] = [[]] * answers.num_prompts
            async for batch in answers.batches():
                for number, row in zip(batch.prompts, batch.logprobs, strict=True):
                    rows[number] = row
            return ScoreResponse.model_construct(
                logprobs=rows, usage=answers.usage, model=self.info_of(answers, tenant)
            )

    async def begin(self, request: ScoreRequest, tenant: Tenant = ANYONE) -> Answers:
        """Admits the request, plans it and queues it. The caller has to close the answers.

        Raises RequestError for an invalid request, TooLargeError, BusyError, or DeadlineError.
        """
        metrics = RequestMetrics(self.counters, request, tenant)
        try:
            return await self._begin(request, tenant, metrics)
        except BaseException as error:
            metrics.refused(error)
            raise

    def info_for(self, tenant: Tenant) -> ModelInfo:
        """The model, with only those adapters that the tenant may use."""
        digests = {name: version.digest for name, version in self.adapters.names.visible_to(tenant).items()}
        return self.info.model_copy(update={"adapters": digests})

    def info_of(self, answers: Answers, tenant: Tenant) -> ModelInfo:
        """The model that gives these answers: its digest is that of the base model and the adapter together."""
        info, digest = self.info_for(tenant), answers.version.digest
        return with_adapter(info, digest) if digest else info

    def forget_counts(self) -> None:
        """Resets all counters, after the warm-up read."""
        self.counters.reset()
        self.history = History(self.counters)

    async def close(self) -> None:
        """Cancels all work and closes the engine."""
        await self.dispatcher.close()
        self.planning.close()
        await self.adapters.close()
        await self.engine.close()
        await asyncio.to_thread(self.read_cache.close)

    async def _begin(self, request: ScoreRequest, tenant: Tenant, metrics: RequestMetrics) -> Answers:
        loop = asyncio.get_running_loop()
        until = loop.time() + request.deadline_s if request.deadline_s is not None else None
        with ExitStack() as held:
            version = self.adapters.take(request.model, tenant)
            held.callback(version.release)
            ticket = self.admission.admit(request.experiment, len(request.prompts), tenant)
            held.callback(ticket.close)
            plan = await self._planned(request, tenant, version, until)
            ticket.settle(plan.num_reads, plan.estimated_new_tokens)
            held.pop_all()
        owner = self._owner(request, tenant)
        answers = Answers(request, plan, ticket, metrics, self.dispatcher.fill, version, tenant, owner)
        answers.on_close(version.release)
        answers.on_close(self.dispatcher.give_up, answers)
        if until is not None:
            answers.on_close(loop.call_at(until, answers.fail, _too_late(request.deadline_s)).cancel)
        metrics.accepted(plan)
        self.dispatcher.add(answers)
        answers.on_close(answers.end_metrics)
        return answers

    async def _planned(
        self, request: ScoreRequest, tenant: Tenant, version: Version, until: float | None
    ) -> RequestPlan:
        size = len(request.segments) + len(request.prefixes) + len(request.prompts)
        place = self.planning.lock.place(tenant, size, sum(map(len, given_texts(request))))
        try:
            async with asyncio.timeout_at(until):
                context = self._context(request, tenant, version)
                return await self.planning.done(self._planner.plan(request, context, self._num_parts()), place)
        except TimeoutError:
            raise _too_late(request.deadline_s) from None

    async def count_tokens(
        self,
        texts: Sequence[str],
        tenant: Tenant = ANYONE,
        *,
        special_tokens: bool = False,
        deadline_s: float | None = None,
    ) -> list[int]:
        """The number of tokens of each text by itself. A text that is longer than any prompt may be is rejected.

        Raises TooLargeError, RequestError or DeadlineError.
        """
        num_chars = sum(map(len, texts))
        check_size("characters", num_chars, MAX_REQUEST_CHARS)
        tokenizer = self._special if special_tokens else self._plain
        counting = counts(tokenizer, self.info.max_prompt_tokens, texts)
        try:
            async with asyncio.timeout(deadline_s):
                return await self.planning.done(counting, self.planning.lock.place(tenant, len(texts), num_chars))
        except TimeoutError:
            raise _too_late(deadline_s) from None

    def _num_parts(self) -> int:
        """How many engines a request gets: enough that the experiments with work keep all of them busy. Two parts of
        a tree share nothing; more compute some prefixes more than once."""
        num_engines = self.engine.members.total
        return min(num_engines, max(2, -(-2 * num_engines // max(1, self.admission.num_experiments))))

    def _context(self, request: ScoreRequest, tenant: Tenant, version: Version) -> bytes:
        """Identifies all that answers depend on besides tokens, and their owner if reads are isolated: of an adapter
        its content, whatever its name.

        It is unique if the request may not share reads with any other.
        """
        once = secrets.token_hex(16) if request.fresh else None
        parts = [self.engine.identity, version.digest, self._owner(request, tenant), once]
        return hashlib.blake2b(json.dumps(parts).encode()).digest()

    def _owner(self, request: ScoreRequest, tenant: Tenant) -> str | None:
        """The owner whose reads are isolated in the read cache and the engine's prefix cache; None if they are
        shared."""
        if self._isolated:
            return json.dumps([tenant.name, request.experiment])
        return json.dumps([tenant.name]) if tenant.isolated else None


def _too_late(deadline_s: float | None) -> DeadlineError:
    return DeadlineError(
        f"the request's deadline of {deadline_s} s has passed; its remaining work was cancelled",
        details={"deadline_s": deadline_s},
    )
