"""What a key says of its holder reaches the queue, the admission and the memory of finished reads."""

from __future__ import annotations

import contextlib
import sqlite3
from collections import Counter
from pathlib import Path

import pytest

from icm_client import BusyError, RequestError, ScoreRequest
from icm_client.contract.errors import TooLargeError
from icm_server.auth.tenant import ANYONE, ExperimentId, Tenant
from icm_server.config import Limits, ScoringConfig
from icm_server.engines.fake import FakeEngine
from icm_server.lifecycle.scorer_state import first_request
from icm_server.scheduling.admission import Admission
from icm_server.scheduling.scoring import ScoringService
from icm_server.sharing.fair_queue import FairQueue, Quantum, Work

REQUEST = ScoreRequest(prompts=["Word: cod\nGroup:", "Word: cup\nGroup:"], labels=[" living", " object"])


class Read:
    estimated_new_tokens = 10


def test_a_weight_is_a_share_of_the_engine() -> None:
    """Of a key's, whatever the number of its experiments, which have weights of their own within it."""

    def work(key: str, experiment: str, weight: float) -> Work[Read]:
        return Work(ExperimentId(key, experiment), [Quantum([Read()], 1) for _ in range(200)], weight=weight)

    queue = FairQueue[Read](10_000, {"large": 2.0})
    queue.add(work("heavy", "large", 3.0))
    queue.add(work("heavy", "small", 3.0))
    queue.add(work("light", "large", 1.0))
    taken = [queue.take() for _ in range(120)]
    served = Counter(found.work.experiment_id for found in taken if found is not None)
    assert abs(served[ExperimentId("heavy", "large")] - 60) <= 2
    assert abs(served[ExperimentId("heavy", "small")] - 30) <= 2
    assert abs(served[ExperimentId("light", "large")] - 30) <= 2


def test_a_key_has_its_own_limit_over_all_its_experiments() -> None:
    admission = Admission(Limits())
    alice = Tenant(name="alice", max_queued_tokens=1000)
    first = admission.admit("alice-1", 1, alice)
    first.settle(1, 600)
    second = admission.admit("alice-2", 1, alice)
    with pytest.raises(BusyError, match="this API key has 600 tokens queued") as raised:
        second.settle(1, 500)
    assert raised.value.retry_after_s > 0
    second.close()
    other = admission.admit("bob", 1, Tenant(name="bob"))
    other.settle(1, 5000)
    first.close()
    third = admission.admit("alice-2", 1, alice)
    third.settle(1, 1000)
    with pytest.raises(TooLargeError, match="1001 tokens; the limit per request is 1000, this API key's limit: split"):
        admission.admit("alice-3", 1, alice).settle(1, 1001)
    with pytest.raises(TooLargeError, match="the limit per request is 333, this API key's limit divided among 3 scor"):
        admission.admit("alice-4", 1, alice.part(3)).settle(1, 1000)


def test_a_tenant_that_has_nothing_left_is_forgotten() -> None:
    admission = Admission(Limits())
    for number in range(100):
        ticket = admission.admit("x", 1, Tenant(name=f"t{number}"))
        ticket.settle(1, 10)
        ticket.close()
    assert not admission.keys


@pytest.mark.parametrize(
    ("first", "second", "shared"),
    [
        (ANYONE, ANYONE, True),
        (Tenant(name="a"), Tenant(name="b"), True),
        (Tenant(name="a", isolated=True), Tenant(name="b"), False),
        (Tenant(name="a"), Tenant(name="b", isolated=True), False),
        (Tenant(name="a", isolated=True), Tenant(name="b", isolated=True), False),
        (Tenant(name="a", isolated=True), Tenant(name="a", isolated=True), True),
    ],
)
async def test_finished_work_is_shared_unless_a_key_is_isolated(first: Tenant, second: Tenant, shared: bool) -> None:
    scorer = ScoringService(FakeEngine())
    try:
        one, two = await scorer.score(REQUEST, first), await scorer.score(REQUEST, second)
        assert one.logprobs == two.logprobs
        assert two.usage.read_cache_prompts == (2 if shared else 0)
        assert two.usage.num_reads == (0 if shared else 2)
    finally:
        await scorer.close()


async def test_isolated_experiments_of_one_name_are_two_where_two_keys_have_them() -> None:
    scorer = ScoringService(FakeEngine(), ScoringConfig(isolate_experiments=True))
    try:
        for name, num_reads in (("a", 2), ("b", 2), ("a", 0)):
            tenant = Tenant(name=name, experiments=("*",))
            assert (await scorer.score(REQUEST, tenant)).usage.num_reads == num_reads
    finally:
        await scorer.close()


@pytest.mark.parametrize("by_key", [True, False])
async def test_nor_is_what_the_engine_s_cache_holds(by_key: bool) -> None:
    """How much of a prompt was cached would tell what others had asked."""
    scorer = ScoringService(FakeEngine(), ScoringConfig(isolate_experiments=not by_key))
    tenants = [Tenant(name=name, experiments=("*",), isolated=by_key) for name in ("a", "b")]

    async def cached(tenant: Tenant, last: str) -> int:
        request = ScoreRequest(prompts=[f"{' word' * 40} {last}"], labels=[" living"], experiment=tenant.name)
        return (await scorer.score(request, tenant)).usage.cached_tokens

    assert [await cached(tenants[0], "cod"), await cached(tenants[0], "cup")] == [0, 32]
    assert [await cached(tenants[1], "cod"), await cached(tenants[1], "cup")] == [0, 32]
    await scorer.close()


async def test_a_quota_is_kept_over_the_way_of_a_request() -> None:
    scorer = ScoringService(FakeEngine(), ScoringConfig())
    try:
        with pytest.raises(RequestError, match="the limit per request is 3"):
            await scorer.score(REQUEST, Tenant(name="a", max_queued_tokens=3))
        assert (await scorer.score(REQUEST, Tenant(name="b", max_queued_tokens=30))).usage.num_reads == 2
        assert not scorer.admission.keys
    finally:
        await scorer.close()


async def test_the_most_prompts_that_a_key_may_ask_are_reported() -> None:
    """One that sends as many as its error says is never refused for that, however small the limits."""
    limits = Limits(max_reads=8)
    for has_keys, most in ((True, 4), (False, 8)):
        scorer = ScoringService(FakeEngine(), ScoringConfig(limits=limits, has_keys=has_keys))
        assert scorer.info.max_prompts == most

        def asked(num: int) -> ScoreRequest:
            return ScoreRequest(prompts=[f"Word: {k}" for k in range(num)], labels=[" living", " object"])

        assert len((await scorer.score(asked(most), Tenant(name="a"))).logprobs) == most
        with pytest.raises(TooLargeError, match=f"the limit per request is {most}"):
            await scorer.score(asked(most + 1), Tenant(name="a"))
        await scorer.close()


async def test_one_experiment_name_under_two_keys_is_counted_as_two() -> None:
    scorer = ScoringService(FakeEngine(), ScoringConfig(has_keys=True))
    for name, num in (("a", 1), ("b", 2)):
        prompts = [f"Word: {name} {k}" for k in range(num)]
        await scorer.score(REQUEST.model_copy(update={"prompts": prompts, "experiment": "paper"}), Tenant(name=name))
    assert {experiment_id: entry.counts.reads for experiment_id, entry in scorer.counters} == {
        ExperimentId("a", "paper"): 1,
        ExperimentId("b", "paper"): 2,
    }
    await scorer.close()


async def test_reads_that_answer_nobody_again_are_not_kept(tmp_path: Path) -> None:
    """Not in memory, and not in the file."""
    config = ScoringConfig(read_cache_file=tmp_path / "reuse")
    scorer = ScoringService(FakeEngine(), config)
    for _ in range(20):
        await scorer.score(REQUEST.model_copy(update={"fresh": True}))
    assert scorer.read_cache.num_bytes == 0
    await scorer.score(REQUEST)
    kept = scorer.read_cache.num_bytes
    assert kept > 0
    await scorer.score(first_request())
    assert scorer.read_cache.num_bytes == kept
    await scorer.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "reuse")) as database:
        assert database.execute("SELECT count(*) FROM answers").fetchone() == (2,)
