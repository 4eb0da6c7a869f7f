"""The current state of a scorer, as in `GET /v1/experiments`: a key sees its own work, an admin key all work."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from pydantic import BaseModel, ConfigDict

from icm_client.contract.adapters import AdapterInfo
from icm_client.contract.wire import ModelInfo
from icm_server.auth.tenant import ANYONE, ExperimentId, Tenant
from icm_server.scheduling.admission import QueuedWork
from icm_server.scheduling.scoring import ScoringService
from icm_server.stats.counters import Counts, ExperimentCounters, quantile_s


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


State = Literal["idle", "being prepared", "waiting for a place", "at work"]
"""The state of an experiment's work: none, not planned yet, waiting for a place in the prefix cache, or interleaved
with others."""


class Quantiles(_Frozen):
    """Durations that half and 95 % of them did not exceed, in seconds."""

    p50: float
    p95: float


class ExperimentRow(_Frozen):
    """One experiment, or the total of all."""

    tenant: str
    """The holder of the key under which it runs."""
    experiment: str
    share: float
    """Its fraction of the recently computed tokens, 0 to 1."""
    state: State
    waiting: QueuedWork
    """Admitted work that is not done, in the queue or in the engine; reads and tokens as estimated."""
    lately: Counts
    """Done within the last `window_s`."""
    total: Counts
    """Done since the scorer was started."""
    requests: dict[str, int]
    """Ended requests, by outcome."""
    request_s: Quantiles | None
    """Of its last answered requests."""
    seen_s: float
    """Seconds since a request of it arrived or ended."""


class EngineLoad(_Frozen):
    """The current load of the engine, and its limits."""

    reads: int
    max_reads: int
    tokens: int
    max_tokens: int
    read_s: Quantiles | None
    """Durations of recent reads."""
    members: int
    """Engines of a pool (`serve --engines`), 1 without one."""
    members_up: int
    """Those that answer now."""


class ReadCacheLoad(_Frozen):
    """The read cache."""

    num_bytes: int
    max_bytes: int


class Overview(_Frozen):
    """The state of the scorer, or one tenant's part of it. Experiments that are not counted by name are combined as
    OTHERS."""

    ready: bool
    status: str
    """`ready`, or why it is not."""
    model: ModelInfo | None = None
    window_s: float = 0.0
    engine: EngineLoad | None = None
    read_cache: ReadCacheLoad | None = None
    shows_tenants: bool = False
    """The experiments are those of all tenants: the key is an admin's."""
    only_tenant: str | None = None
    """The tenant whose experiments are shown, for a key that is not an admin's."""
    all: ExperimentRow | None = None
    """The total of the experiments shown."""
    adapters: list[AdapterInfo] = []
    """The adapters that this key may use, with their reads."""
    experiments: list[ExperimentRow] = []
    """Experiments with current or recent work by name, then the others by when they were last seen."""


def overview(scorer: ScoringService, tenant: Tenant, *, ready: bool, status: str) -> Overview:
    """The part of a loaded scorer's state that the tenant may see. The engine's load names no tenant, so every key sees
    it."""
    dispatcher, engine, history = scorer.dispatcher, scorer.engine, scorer.history
    recent = {entry: history.counts(entry) for _, entry in scorer.counters}
    whole = sum((counts.computed_tokens for counts in recent.values()), 0)
    held, without_place = queued_work(scorer), scorer.queue.without_place() - set(scorer.queue.interleaved())
    now = scorer.counters.clock()
    entries = visible_to(tenant, scorer)

    def row(
        experiment_id: ExperimentId, entry: ExperimentCounters, lately: Counts, waiting: QueuedWork, state: State
    ) -> ExperimentRow:
        return ExperimentRow(
            tenant=experiment_id.tenant,
            experiment=experiment_id.experiment,
            share=lately.computed_tokens / max(1, whole),
            state=state,
            waiting=waiting,
            lately=lately,
            total=entry.counts,
            requests=dict(entry.outcomes),
            request_s=_quantiles(entry.latencies_s),
            seen_s=max(0.0, now - entry.seen_at),
        )

    rows = [
        row(experiment_id, entry, recent[entry], waiting, _state(waiting, has_place=experiment_id not in without_place))
        for experiment_id, entry, waiting in (
            (experiment_id, entry, held.get(experiment_id, QueuedWork())) for experiment_id, entry in entries
        )
    ]
    total = scorer.counters.total(None if tenant.admin else tenant.name)
    waiting = sum((held.get(experiment_id, QueuedWork()) for experiment_id, _ in entries), QueuedWork())
    lately = sum((recent[entry] for _, entry in entries), Counts())
    counts = history.reads()
    p50, p95 = (quantile_s(scorer.counters.reads_s.bounds, counts, part) for part in (0.5, 0.95))
    return Overview(
        ready=ready,
        status=status,
        model=scorer.info_for(tenant),
        window_s=history.seconds,
        engine=EngineLoad(
            reads=dispatcher.num_reads,
            max_reads=engine.max_concurrent_reads,
            tokens=dispatcher.num_tokens,
            max_tokens=dispatcher.max_tokens,
            read_s=Quantiles(p50=p50, p95=p95) if p50 is not None and p95 is not None else None,
            members=engine.members.total,
            members_up=engine.members.up,
        ),
        read_cache=ReadCacheLoad(num_bytes=scorer.read_cache.num_bytes, max_bytes=scorer.read_cache.max_bytes),
        shows_tenants=tenant.admin and tenant is not ANYONE,
        only_tenant=None if tenant.admin else tenant.name,
        all=row(ExperimentId(tenant.name, "(all)"), total, lately, waiting, _state(waiting, has_place=True)),
        adapters=scorer.adapters.listed(tenant).adapters,
        experiments=_ordered(rows),
    )


def visible_to(tenant: Tenant, scorer: ScoringService) -> list[tuple[ExperimentId, ExperimentCounters]]:
    """The counters that the tenant may see."""
    return [
        (experiment_id, entry)
        for experiment_id, entry in scorer.counters
        if tenant.admin or experiment_id.tenant == tenant.name
    ]


def queued_work(scorer: ScoringService) -> dict[ExperimentId, QueuedWork]:
    """Admitted work by the names under which it is counted."""
    held: dict[ExperimentId, QueuedWork] = {}
    for key, theirs in scorer.admission.keys.items():
        for experiment, its in theirs.experiments.items():
            experiment_id = scorer.counters.shown_as(ExperimentId(key, experiment))
            held[experiment_id] = held.get(experiment_id, QueuedWork()) + its
    return held


def _ordered(rows: list[ExperimentRow]) -> list[ExperimentRow]:
    busy = [row for row in rows if row.waiting.requests or row.lately != Counts()]
    idle = [row for row in rows if row not in busy]
    return sorted(busy, key=lambda row: (row.tenant, row.experiment)) + sorted(idle, key=lambda row: row.seen_s)


def _state(waiting: QueuedWork, *, has_place: bool) -> State:
    if not waiting.requests:
        return "idle"
    if not has_place:
        return "waiting for a place"
    return "being prepared" if waiting.reads and not waiting.tokens else "at work"


def _quantiles(seconds: Collection[float]) -> Quantiles | None:
    if not seconds:
        return None
    ordered = sorted(seconds)
    return Quantiles(p50=ordered[len(ordered) // 2], p95=ordered[int(0.95 * len(ordered))])
