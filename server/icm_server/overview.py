"""What a scorer is doing now, as `GET /v1/experiments` tells it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from pydantic import BaseModel, ConfigDict

from icm_client.wire import ModelInfo
from icm_server.admission import Held
from icm_server.scoring import Scorer
from icm_server.tally import OTHERS, Counts, Tally, quantile_s


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
    """All of it. Experiments that are not among the last ones seen are told together, as OTHERS."""

    ready: bool
    status: str
    """`ready`, or why it is not."""
    model: ModelInfo | None = None
    window_s: float = 0.0
    engine: EngineLoad | None = None
    reuse: ReuseLoad | None = None
    all: Row | None = None
    experiments: list[Row] = []
    """Those with work now or lately by name, then the others by when they were seen last."""


def overview(scorer: Scorer, *, ready: bool, status: str) -> Overview:
    """Of a scorer that is loaded."""
    window, engine, history = scorer.window, scorer.engine, scorer.history
    lately = {tally: history.counts(tally) for _, tally in scorer.tallies}
    whole = sum(lately.values(), Counts())
    held, without_place = held_by(scorer), scorer.queue.without_place() - set(scorer.queue.interleaved())
    now = scorer.tallies.clock()

    def row(name: str, tally: Tally, recent: Counts, waiting: Held, state: State) -> Row:
        return Row(
            experiment=name,
            share=recent.computed_tokens / max(1, whole.computed_tokens),
            state=state,
            waiting=waiting,
            lately=recent,
            total=tally.counts,
            requests=dict(tally.outcomes),
            request_s=_quantiles(tally.latencies_s),
            seen_s=max(0.0, now - tally.seen_at),
        )

    rows = [
        row(name, tally, lately[tally], waiting, _state(waiting, has_place=name not in without_place))
        for name, tally, waiting in ((name, tally, held.get(name, Held())) for name, tally in scorer.tallies)
    ]
    total = scorer.tallies.total()
    total.seen_at = max((tally.seen_at for tally in lately), default=now)
    counts = history.reads()
    p50, p95 = (quantile_s(scorer.tallies.reads_s.bounds, counts, part) for part in (0.5, 0.95))
    return Overview(
        ready=ready,
        status=status,
        model=scorer.info,
        window_s=history.seconds,
        engine=EngineLoad(
            reads=window.num_reads,
            max_reads=engine.max_concurrent_reads,
            tokens=window.num_tokens,
            max_tokens=window.max_tokens,
            read_s=Quantiles(p50=p50, p95=p95) if p50 is not None and p95 is not None else None,
        ),
        reuse=ReuseLoad(num_bytes=scorer.reuse.num_bytes, max_bytes=scorer.reuse.max_bytes),
        all=row("(all)", total, whole, scorer.admission.total, _state(scorer.admission.total, has_place=True)),
        experiments=_ordered(rows),
    )


def held_by(scorer: Scorer) -> dict[str, Held]:
    """What waits, by experiment; those that are not counted by name together."""
    held: dict[str, Held] = {}
    for experiment, its in scorer.admission.by_experiment.items():
        name = experiment if experiment in scorer.tallies else OTHERS
        held.setdefault(name, Held()).add(its.requests, its.reads, its.tokens)
    return held


def _ordered(rows: list[Row]) -> list[Row]:
    busy = [row for row in rows if row.waiting.requests or row.lately != Counts()]
    idle = [row for row in rows if row not in busy]
    return sorted(busy, key=lambda row: row.experiment) + sorted(idle, key=lambda row: row.seen_s)


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
