"""Whose request is planned next."""

from __future__ import annotations

import asyncio

import pytest
from tests.hand_clock import HandClock

from icm_server.auth.tenant import ANYONE, Tenant
from icm_server.sharing.fair_lock import FairLock


class Planned:
    """Requests that wait behind one that is being planned, and the order in which they are."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.lock, self.order, self.first_is_done = FairLock(self.clock), list[str](), asyncio.Event()

    async def until(self, num_turns: int) -> None:
        while len(self.order) < num_turns:  # noqa: ASYNC110  (what is waited for has no event)
            await asyncio.sleep(0)

    async def first(self) -> None:
        async with self.lock.holding(self.lock.place(ANYONE, 1)):
            await self.first_is_done.wait()

    async def plan(
        self,
        name: str,
        num_prompts: int,
        num_chars: int = 0,
        tenant: Tenant = ANYONE,
        num_turns: int = 1,
        turn_s: float = 0.0,
    ) -> None:
        place = self.lock.place(tenant, num_prompts, num_chars)
        await self.lock.acquire(place)
        for number in range(num_turns):
            if number:
                await self.lock.reacquire(place)
            self.order.append(name)
            await asyncio.sleep(0)
            self.clock.now += turn_s
        self.lock.release()


async def test_small_requests_overtake_large_ones_and_equal_ones_keep_their_order() -> None:
    planned = Planned()
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        tasks.create_task(planned.first())
        await asyncio.sleep(0)
        for name, num in (("large", 1000), ("large too", 1000), ("small", 10), ("small too", 10)):
            tasks.create_task(planned.plan(name, num))
            await asyncio.sleep(0)
        planned.first_is_done.set()
    assert planned.order == ["small", "small too", "large", "large too"]


async def test_a_few_long_texts_are_a_large_request() -> None:
    planned = Planned()
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        tasks.create_task(planned.first())
        await asyncio.sleep(0)
        for name, num, num_chars in (("long", 1, 2_000_000), ("small", 10, 500)):
            tasks.create_task(planned.plan(name, num, num_chars))
            await asyncio.sleep(0)
        planned.first_is_done.set()
    assert planned.order == ["small", "long"]


async def test_nobody_is_overtaken_for_ever() -> None:
    planned = Planned()
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        tasks.create_task(planned.first())
        await asyncio.sleep(0)
        tasks.create_task(planned.plan("large", 200))
        await asyncio.sleep(0)
        planned.clock.now += 60
        tasks.create_task(planned.plan("small", 10))
        await asyncio.sleep(0)
        planned.first_is_done.set()
    assert planned.order == ["large", "small"]


@pytest.mark.parametrize("is_woken", [False, True])
async def test_whoever_gives_up_holds_up_nobody(is_woken: bool) -> None:
    """Also if its turn has just come."""
    planned = Planned()
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        tasks.create_task(planned.first())
        await asyncio.sleep(0)
        giving_up = tasks.create_task(planned.plan("gives up", 1))
        tasks.create_task(planned.plan("stays", 10))
        await asyncio.sleep(0)
        if is_woken:
            planned.first_is_done.set()
            await asyncio.sleep(0)  # the first wakes up and passes on
        giving_up.cancel()
        planned.first_is_done.set()
    assert planned.order == ["stays"]
    async with asyncio.timeout(5), planned.lock.holding(planned.lock.place(ANYONE, 1)):
        pass


ALICE, BOB, CAROL = Tenant(name="alice"), Tenant(name="bob"), Tenant(name="carol", weight=3.0)


async def test_keys_share_the_time_however_many_requests_they_have() -> None:
    planned = Planned()
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        tasks.create_task(planned.first())
        await asyncio.sleep(0)
        for _ in range(20):
            tasks.create_task(planned.plan("alice", 1, tenant=ALICE, num_turns=2, turn_s=0.1))
        tasks.create_task(planned.plan("bob", 1000, tenant=BOB, num_turns=10, turn_s=0.1))
        await asyncio.sleep(0)
        planned.first_is_done.set()
    assert 9 <= planned.order[:20].count("bob") <= 11


async def test_time_counts_by_the_key_s_weight_and_not_the_number_of_turns() -> None:
    planned = Planned()
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        tasks.create_task(planned.first())
        await asyncio.sleep(0)
        tasks.create_task(planned.plan("bob", 1, tenant=BOB, num_turns=20, turn_s=0.2))
        tasks.create_task(planned.plan("carol", 1, tenant=CAROL, num_turns=60, turn_s=0.1))
        await asyncio.sleep(0)
        planned.first_is_done.set()
    assert 25 <= planned.order[:35].count("carol") <= 32  # six turns of hers to one of his


async def test_one_key_s_long_work_is_followed_by_whoever_comes() -> None:
    """Also if that one has done nothing for long, and however often it comes: what it did not use is not kept."""
    planned = Planned()
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        tasks.create_task(planned.first())
        await asyncio.sleep(0)
        for _ in range(3):
            tasks.create_task(planned.plan("alice", 1, tenant=ALICE, num_turns=100, turn_s=1.0))
        await asyncio.sleep(0)
        planned.first_is_done.set()
        await planned.until(50)
        for _ in range(3):
            since = len(planned.order)
            await planned.plan("bob", 10_000, tenant=BOB, num_turns=3, turn_s=0.01)
            assert planned.order[since:].index("bob") <= 1
            assert planned.order[since:].count("alice") <= 3
            await planned.until(since + 50)
