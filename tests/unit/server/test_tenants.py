"""What a key says of its holder reaches the queue, the admission and the memory of finished reads."""

from __future__ import annotations

import pytest

from icm_client import BusyError, RequestError, ScoreRequest
from icm_client.errors import TooLargeError
from icm_server.admission import Admission
from icm_server.config import Limits, ScoringConfig
from icm_server.engines.fake import FakeEngine
from icm_server.fair_queue import FairQueue, Quantum, Work
from icm_server.scoring import Scorer
from icm_server.tenant import ANYONE, Tenant

REQUEST = ScoreRequest(prompts=["Word: cod\nGroup:", "Word: cup\nGroup:"], labels=[" living", " object"])


class Read:
    tokens = 10


def test_a_weight_is_a_share_of_the_engine() -> None:
    def work(experiment: str, weight: float) -> Work[Read]:
        return Work(experiment, [Quantum([Read()], 1) for _ in range(200)], weight=weight)

    queue = FairQueue[Read](10_000)
    queue.add(work("heavy", 3.0))
    queue.add(work("light", 1.0))
    taken = [queue.take() for _ in range(80)]
    served = [found.work.experiment for found in taken if found is not None]
    assert abs(served.count("heavy") - 60) <= 2
    named = FairQueue[Read](10_000, {"heavy": 1.0})  # what the scorer was started with goes first
    named.add(work("heavy", 3.0))
    named.add(work("light", 1.0))
    taken = [named.take() for _ in range(80)]
    served = [found.work.experiment for found in taken if found is not None]
    assert abs(served.count("heavy") - 40) <= 2


def test_a_key_has_its_own_limit_over_all_its_experiments() -> None:
    admission = Admission(Limits())
    alice = Tenant(name="alice", max_queued_tokens=1000)
    first = admission.admit("alice-1", 1, alice)
    first.settle(1, 600)
    second = admission.admit("alice-2", 1, alice)
    with pytest.raises(BusyError, match="API key 'alice' has 600 tokens waiting") as raised:
        second.settle(1, 500)
    assert raised.value.retry_after_s > 0
    second.close()
    other = admission.admit("bob", 1, Tenant(name="bob"))
    other.settle(1, 5000)
    first.close()
    third = admission.admit("alice-2", 1, alice)
    third.settle(1, 1000)
    with pytest.raises(TooLargeError, match="1001 tokens, more than the 1000"):
        admission.admit("alice-3", 1, alice).settle(1, 1001)


def test_a_tenant_that_has_nothing_left_is_forgotten() -> None:
    admission = Admission(Limits())
    for number in range(100):
        ticket = admission.admit("x", 1, Tenant(name=f"t{number}"))
        ticket.settle(1, 10)
        ticket.close()
    assert not admission.by_tenant
    assert not admission.by_experiment


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
    scorer = Scorer(FakeEngine())
    try:
        one, two = await scorer.score(REQUEST, first), await scorer.score(REQUEST, second)
        assert one.logprobs == two.logprobs
        assert two.usage.reused_prompts == (2 if shared else 0)
        assert two.usage.num_reads == (0 if shared else 2)
    finally:
        await scorer.close()


@pytest.mark.parametrize("by_key", [True, False])
async def test_nor_is_what_the_engine_s_cache_holds(by_key: bool) -> None:
    """How much of a prompt was cached would tell what others had asked."""
    scorer = Scorer(FakeEngine(), ScoringConfig(isolate_reuse=not by_key))
    tenants = [Tenant(name=name, experiments=("*",), isolated=by_key) for name in ("a", "b")]

    async def cached(tenant: Tenant, last: str) -> int:
        request = ScoreRequest(prompts=[f"{' word' * 40} {last}"], labels=[" living"], experiment=tenant.name)
        return (await scorer.score(request, tenant)).usage.cached_tokens

    assert [await cached(tenants[0], "cod"), await cached(tenants[0], "cup")] == [0, 32]
    assert [await cached(tenants[1], "cod"), await cached(tenants[1], "cup")] == [0, 32]
    await scorer.close()


async def test_a_quota_is_kept_over_the_way_of_a_request() -> None:
    scorer = Scorer(FakeEngine(), ScoringConfig())
    try:
        with pytest.raises(RequestError, match="more than the 3"):
            await scorer.score(REQUEST, Tenant(name="a", max_queued_tokens=3))
        assert (await scorer.score(REQUEST, Tenant(name="b", max_queued_tokens=30))).usage.num_reads == 2
        assert not scorer.admission.by_tenant
    finally:
        await scorer.close()
