"""`/metrics`: the scorer's counters, and the metrics in the process's own registry (vLLM's), as text.

A key gets the metrics of its own experiments. The process's registry, whose labels name adapters, is only for admin
keys. Nothing is counted here: values are read on request, so that a read costs nothing more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from icm_server.auth.tenant import Tenant
from icm_server.monitoring.overview import queued_work, visible_to
from icm_server.scheduling.admission import QueuedWork
from icm_server.scheduling.request_metrics import OUTCOMES
from icm_server.scheduling.scoring import ScoringService
from icm_server.stats.counters import Histogram

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_MODEL_LABELS = ("name", "digest", "dtype", "engine")


class Metrics:
    """The metrics of one application. `scorer` returns the scorer if it is loaded, `ready` whether it accepts
    requests."""

    def __init__(self, scorer: Callable[[], ScoringService | None], ready: Callable[[], bool], responses: Counter[int]):
        self._scorer, self._ready, self._responses = scorer, ready, responses

    def text(self, tenant: Tenant) -> bytes:
        """The metrics that the tenant may see, in CONTENT_TYPE."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Collected(self._collect(tenant)))
        return generate_latest(registry)

    def _collect(self, tenant: Tenant) -> Iterator[Metric]:
        yield GaugeMetricFamily("icm_ready", "1 if the scorer takes requests.", int(self._ready()))
        responses = CounterMetricFamily("icm_http_responses", "HTTP answers by status.", labels=["status"])
        for status, number in sorted(self._responses.items()):
            responses.add_metric([str(status)], number)
        yield responses
        scorer = self._scorer()
        if scorer is not None:
            yield from _info(scorer)
            yield from _totals(scorer)
            yield from _experiments(scorer, tenant)
            yield from _adapters(scorer, tenant)
            yield from _now(scorer)
            yield from _durations(scorer)
        if tenant.admin:
            yield from REGISTRY.collect()


class _Collected(Collector):
    """The metrics of one answer."""

    def __init__(self, found: Iterable[Metric]):
        self._found = found

    def describe(self) -> Iterable[Metric]:
        """Empty, so that registering does not check names for conflicts."""
        return []

    def collect(self) -> Iterable[Metric]:
        return self._found


def _info(scorer: ScoringService) -> Iterator[Metric]:
    info = scorer.info
    family = GaugeMetricFamily("icm_model_info", "Always 1; the labels name the model.", labels=_MODEL_LABELS)
    family.add_metric([str(getattr(info, name)) for name in _MODEL_LABELS], 1)
    yield family


def _totals(scorer: ScoringService) -> Iterator[Metric]:
    total = scorer.counters.total()
    requests = CounterMetricFamily(
        "icm_requests",
        "Score requests that have ended, by outcome; busy and too_large were rejected at admission.",
        labels=["outcome"],
    )
    for outcome in OUTCOMES:
        requests.add_metric([outcome], total.outcomes[outcome])
    yield requests
    counts = total.counts
    for name, text, value in (
        ("icm_prompts", "Prompts of accepted requests.", counts.prompts),
        ("icm_reads", "Reads made by the engine.", counts.reads),
        (
            "icm_read_cache_reads",
            "Reads answered by the read cache or by another request's read.",
            counts.read_cache_reads,
        ),
        ("icm_computed_tokens", "Tokens that the engine computed.", counts.computed_tokens),
        ("icm_cached_tokens", "Tokens found in the engine's prefix cache.", counts.cached_tokens),
        ("icm_read_cache_tokens", "Tokens of reads from the read cache.", counts.read_cache_tokens),
    ):
        yield CounterMetricFamily(name, text, value)


def _experiments(scorer: ScoringService, tenant: Tenant) -> Iterator[Metric]:
    """Metrics of the experiments that are counted by name (see `Counters`), and of all others together."""
    label = ["tenant", "experiment"]
    entries = visible_to(tenant, scorer)
    computed = CounterMetricFamily("icm_experiment_computed_tokens", "Tokens computed, by experiment.", labels=label)
    cached = CounterMetricFamily(
        "icm_experiment_cached_tokens", "Tokens found in the prefix cache, by experiment.", labels=label
    )
    reused = CounterMetricFamily(
        "icm_experiment_read_cache_tokens", "Tokens of reads from the read cache, by experiment.", labels=label
    )
    for experiment_id, entry in entries:
        computed.add_metric(experiment_id, entry.counts.computed_tokens)
        cached.add_metric(experiment_id, entry.counts.cached_tokens)
        reused.add_metric(experiment_id, entry.counts.read_cache_tokens)
    requests = GaugeMetricFamily(
        "icm_open_requests", "Accepted requests that have not ended, by experiment.", labels=label
    )
    reads = GaugeMetricFamily("icm_queued_reads", "Accepted reads that are not done, by experiment.", labels=label)
    tokens = GaugeMetricFamily(
        "icm_queued_tokens", "Estimated tokens of accepted reads that are not done, by experiment.", labels=label
    )
    queued_now = queued_work(scorer)
    for experiment_id, _ in entries:
        held = queued_now.get(experiment_id, QueuedWork())
        requests.add_metric(experiment_id, held.requests)
        reads.add_metric(experiment_id, held.reads)
        tokens.add_metric(experiment_id, held.tokens)
    yield from (computed, cached, reused, requests, reads, tokens)


def _adapters(scorer: ScoringService, tenant: Tenant) -> Iterator[Metric]:
    """Adapters by name; those for all keys have no tenant."""
    reads = CounterMetricFamily(
        "icm_adapter_reads", "Reads made by the engine, by adapter.", labels=["tenant", "adapter"]
    )
    for (owner, name), version in scorer.adapters.names.seen_by(tenant).items():
        reads.add_metric([owner or "", name], version.reads)
    yield reads
    yield GaugeMetricFamily("icm_adapters", "Adapters that are served.", scorer.adapters.num_adapters)
    yield GaugeMetricFamily("icm_adapters_bytes", "Disk that adapters put by keys take.", scorer.adapters.num_bytes)


def _now(scorer: ScoringService) -> Iterator[Metric]:
    engine, dispatcher, read_cache = scorer.engine, scorer.dispatcher, scorer.read_cache
    yield CounterMetricFamily("icm_engines_lost", "Engines that have ended and were replaced.", engine.members.lost)
    for name, text, value in (
        ("icm_engine_reads", "Reads in the engine.", dispatcher.num_reads),
        ("icm_engine_max_reads", "The most reads in the engine at once.", engine.max_concurrent_reads),
        ("icm_engine_tokens", "Estimated tokens of the reads in the engine.", dispatcher.num_tokens),
        ("icm_engines", "Engines that share the work.", engine.members.total),
        ("icm_engines_up", "Engines that answer now.", engine.members.up),
        ("icm_cache_tokens", "Capacity of the engine's prefix cache in tokens.", engine.cache_tokens),
        (
            "icm_interleaved_experiments",
            "Experiments whose prefixes are kept in that cache.",
            len(scorer.queue.interleaved()),
        ),
        ("icm_read_cache_memory_bytes", "Memory used by the read cache.", read_cache.num_bytes),
        ("icm_read_cache_memory_max_bytes", "Memory limit of the read cache.", read_cache.max_bytes),
    ):
        yield GaugeMetricFamily(name, text, value)


def _durations(scorer: ScoringService) -> Iterator[Metric]:
    counters = scorer.counters
    for name, text, histogram in (
        ("icm_request_duration_seconds", "Answered requests, from arrival to end.", counters.requests_s),
        ("icm_queue_wait_seconds", "Queueing time of requests, until their first read.", counters.waits_s),
        ("icm_read_duration_seconds", "Reads in the engine.", counters.reads_s),
    ):
        yield HistogramMetricFamily(name, text, buckets=_buckets(histogram), sum_value=histogram.sum_s)


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    """Cumulative buckets, as in Prometheus' format."""
    below, buckets = 0, []
    for bound, number in zip([*map(str, histogram.bounds), "+Inf"], histogram.counts, strict=True):
        below += number
        buckets.append((bound, float(below)))
    return buckets
