"""What a scorer is doing now, as `GET /v1/experiments` tells it: a key its own work, and who may see all, all."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from pydantic import BaseModel, ConfigDict

from icm_client.contract.wire import ModelInfo
from icm_server.auth.tenant import ANYONE, Asker, Tenant
from icm_server.scheduling.admission import Held
from icm_server.scheduling.scoring import Scorer
from icm_server.stats.counters import Counts, Tally, quantile_s


class _Told(BaseModel):
    model_config = ConfigDict(frozen=True)


State = Literal["idle", "being prepared", "waiting for a place", "at work"]
"""Of an experiment's work: none, not planned yet, not interleaved with others' yet, or in turns with others'."""


class Quantiles(_Told):
    """Seconds within which half and 95 % of them were done."""

    p50: float
    p95: float


class Row(_Told):
    """One experiment, or all of them."""

    key: str
    """Whose it is."""
    experiment: str
    share: float
    """Its part of the tokens that were computed lately, 0 to 1."""
    state: State
    waiting: Held
    """Work let in and not done, in the queue or in the engine; reads and tokens as estimated."""
    lately: Counts
    """Done within the last `window_s`."""
    total: Counts
    """Done since the scorer was started."""
    requests: dict[str, int]
    """Those that have ended, by how."""
    request_s: Quantiles | None
    """Of its last answered requests."""
    seen_s: float
    """Seconds since a request of it came or ended."""


class EngineLoad(_Told):
    """What is in the engine now, and how much of it at most."""

    reads: int
    max_reads: int
    tokens: int
    max_tokens: int
    read_s: Quantiles | None
    """Of the reads made lately."""


class ReuseLoad(_Told):
    """The memory of finished reads."""

    num_bytes: int
    max_bytes: int


class Overview(_Told):
    """All of it, or one key's part. Experiments that are not among the last ones seen are told together, as OTHERS."""

    ready: bool
    status: str
    """`ready`, or why it is not."""
    model: ModelInfo | None = None
    window_s: float = 0.0
    engine: EngineLoad | None = None
    reuse: ReuseLoad | None = None
    shows_keys: bool = False
    """Whether the experiments are those of all keys; else they are of the one that asks, or there are no keys."""
    all: Row | None = None
    """Of all experiments that are told."""
    experiments: list[Row] = []
    """Those with work now or lately by name, then the others by when they were seen last."""


def overview(scorer: Scorer, tenant: Tenant, *, ready: bool, status: str) -> Overview:
    """Of a scorer that is loaded, as far as the tenant may see it: how busy the engine is names nobody, so all may."""
    window, engine, history = scorer.window, scorer.engine, scorer.history
    recent = {tally: history.counts(tally) for _, tally in scorer.tallies}
    whole = sum((counts.computed_tokens for counts in recent.values()), 0)
    held, without_place = held_by(scorer), scorer.queue.without_place() - set(scorer.queue.interleaved())
    now = scorer.tallies.clock()
    told = seen_by(tenant, scorer)

    def row(asker: Asker, tally: Tally, lately: Counts, waiting: Held, state: State) -> Row:
        return Row(
            key=asker.key,
            experiment=asker.experiment,
            share=lately.computed_tokens / max(1, whole),
            state=state,
            waiting=waiting,
            lately=lately,
            total=tally.counts,
            requests=dict(tally.outcomes),
            request_s=_quantiles(tally.latencies_s),
            seen_s=max(0.0, now - tally.seen_at),
        )

    rows = [
        row(asker, tally, recent[tally], waiting, _state(waiting, has_place=asker not in without_place))
        for asker, tally, waiting in ((asker, tally, held.get(asker, Held())) for asker, tally in told)
    ]
    total = scorer.tallies.total(None if tenant.admin else tenant.name)
    waiting = sum((held.get(asker, Held()) for asker, _ in told), Held())
    lately = sum((recent[tally] for _, tally in told), Counts())
    counts = history.reads()
    p50, p95 = (quantile_s(scorer.tallies.reads_s.bounds, counts, part) for part in (0.5, 0.95))
    return Overview(
        ready=ready,
        status=status,
        model=scorer.info_for(tenant),
        window_s=history.seconds,
        engine=EngineLoad(
            reads=window.num_reads,
            max_reads=engine.max_concurrent_reads,
            tokens=window.num_tokens,
            max_tokens=window.max_tokens,
            read_s=Quantiles(p50=p50, p95=p95) if p50 is not None and p95 is not None else None,
        ),
        reuse=ReuseLoad(num_bytes=scorer.reuse.num_bytes, max_bytes=scorer.reuse.max_bytes),
        shows_keys=tenant.admin and tenant is not ANYONE,
        all=row(Asker(tenant.name, "(all)"), total, lately, waiting, _state(waiting, has_place=True)),
        experiments=_ordered(rows),
    )


def seen_by(tenant: Tenant, scorer: Scorer) -> list[tuple[Asker, Tally]]:
    """Who is counted, as far as the tenant may know of them."""
    return [(asker, tally) for asker, tally in scorer.tallies if tenant.admin or asker.key == tenant.name]


def held_by(scorer: Scorer) -> dict[Asker, Held]:
    """What waits, by the names that it is counted by."""
    held: dict[Asker, Held] = {}
    for key, theirs in scorer.admission.keys.items():
        for experiment, its in theirs.experiments.items():
            asker = scorer.tallies.told(Asker(key, experiment))
            held[asker] = held.get(asker, Held()) + its
    return held


def _ordered(rows: list[Row]) -> list[Row]:
    busy = [row for row in rows if row.waiting.requests or row.lately != Counts()]
    idle = [row for row in rows if row not in busy]
    return sorted(busy, key=lambda row: (row.key, row.experiment)) + sorted(idle, key=lambda row: row.seen_s)


def _state(waiting: Held, *, has_place: bool) -> State:
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
