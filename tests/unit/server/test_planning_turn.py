"""Whose request is planned next."""

from __future__ import annotations

import asyncio

import pytest
from tests.hand_clock import HandClock

from icm_server.planning_turn import PlanningTurns


class Planned:
    """Requests that wait behind one that is being planned, and the order in which they are."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.turns, self.order, self.first_is_done = PlanningTurns(self.clock), list[str](), asyncio.Event()

    async def first(self) -> None:
        async with self.turns.turn(1):
            await self.first_is_done.wait()

    async def plan(self, name: str, num_prompts: int, num_chars: int = 0) -> None:
        async with self.turns.turn(num_prompts, num_chars):
            self.order.append(name)
            await asyncio.sleep(0)


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
    async with asyncio.timeout(5), planned.turns.turn(1):
        pass
