"""A pool of fake engines, each in a real process: the answers and the tokens of one engine, whatever happens."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.adapter_files import save_adapter
from tests.pools import fake_pool, tree_pass

from icm_client.contract.errors import RequestError, ScorerError, UnavailableError
from icm_client.contract.wire import ScoreRequest
from icm_server.config import ServerConfig
from icm_server.engines.base import Engine, Members, Part, ReadAnswer
from icm_server.engines.fake import FakeEngine, FakeTokenizer
from icm_server.engines.places import ANYWHERE, Place
from icm_server.pool.adapters import PoolAdapters
from icm_server.pool.engine import MAX_LOSSES, PoolEngine
from icm_server.pool.member import Member, MemberLostError
from icm_server.pool.messages import AdapterRoom, Read, described, ready_of
from icm_server.pool.routing import Placed, Routing
from icm_server.scheduling.scoring import ScoringService

LIMIT_S = 60.0


class Scored(NamedTuple):
    rows: list[list[list[float]]]
    computed_tokens: int


async def scored(engine: Engine, requests: Sequence[ScoreRequest]) -> Scored:
    """All requests at once, by a scorer of its own."""
    scorer = ScoringService(engine)
    answers = await asyncio.gather(*map(scorer.score, requests))
    await scorer.dispatcher.close()
    return Scored([each.logprobs for each in answers], sum(each.usage.computed_tokens for each in answers))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not condition():  # noqa: ASYNC110  (a process has no event)
            await asyncio.sleep(0.01)


class Comparison(Routing):
    """When asked to, sends reads to the members in turn."""

    def __init__(self) -> None:
        super().__init__()
        self.in_turn, self._turn = False, itertools.count()

    def place(self, part: Part, prompt_tokens: int, loads: Mapping[int, int]) -> Placed:
        if not self.in_turn:
            return super().place(part, prompt_tokens, loads)
        return Placed(sorted(loads)[next(self._turn) % len(loads)], has_prefix=True)


async def test_a_pool_answers_and_computes_as_one_engine() -> None:
    """Two experiments' passes, and rows behind one context; reads in turn would compute far more."""
    context = " ".join(f"c{number}" for number in range(400))
    rows = ScoreRequest(
        segments=[context, *(f" r{number}:" for number in range(64))],
        prefixes=[[None, 0]],
        prompts=[[0, 1 + number] for number in range(64)],
        labels=[" a", " b"],
        experiment="rows",
    )
    passes = [tree_pass(64, seed, experiment=f"e{seed}") for seed in range(2)]
    one = await scored(FakeEngine(), passes)
    one_rows = await scored(FakeEngine(), [rows])
    routing = Comparison()
    async with fake_pool(2, routing=routing) as pool:
        assert pool.members == Members(2, 2, 0)
        two = await scored(pool, passes)
        two_rows = await scored(pool, [rows])
        routing.in_turn = True
        in_turn = await scored(pool, [tree_pass(64, 7 + seed, experiment=f"e{seed}") for seed in range(2)])
    assert two.rows == one.rows
    assert two_rows.rows == one_rows.rows
    assert two.computed_tokens <= 1.10 * one.computed_tokens
    assert two_rows.computed_tokens <= one_rows.computed_tokens + 401  # the context, on the second member
    assert in_turn.computed_tokens > 1.5 * one.computed_tokens


@pytest.mark.slow
async def test_members_are_killed_under_load_and_nothing_is_lost() -> None:
    """16 experiments, one member killed while it has reads of them; then both at once."""
    passes = [tree_pass(16, seed, experiment=f"e{seed}") for seed in range(16)]
    expected = await scored(FakeEngine(), passes)
    async with fake_pool(2, delay_s=0.02, max_concurrent_reads=16) as pool:
        scoring = asyncio.create_task(scored(pool, passes))
        await until(lambda: all(member.tokens for member in pool.running()))
        os.kill(pool.running()[1].pid, signal.SIGKILL)
        await until(lambda: pool.members.up == 1)
        assert (await scoring).rows == expected.rows
        await until(lambda: pool.members == Members(2, 2, 1))
        scoring = asyncio.create_task(scored(pool, passes))
        await until(lambda: all(member.tokens for member in pool.running()))
        for member in pool.running():
            os.kill(member.pid, signal.SIGKILL)
        await until(lambda: pool.members.up == 0)
        await pool.check()  # they are started again: not an end
        assert (await scoring).rows == expected.rows


@pytest.mark.slow
async def test_a_member_that_hangs_is_killed_and_nothing_is_lost() -> None:
    """It is alive and silent; the other, which works for longer than `silent_s`, stays."""
    passes = [tree_pass(16, seed, experiment=f"e{seed}") for seed in range(4)]
    expected = await scored(FakeEngine(), passes)
    async with fake_pool(2, delay_s=0.2, max_concurrent_reads=4, silent_s=3.0) as pool:
        scoring = asyncio.create_task(scored(pool, passes))
        await until(lambda: all(member.tokens for member in pool.running()))
        kept, hanging = pool.running()
        os.kill(hanging.pid, signal.SIGSTOP)
        await until(lambda: pool.members == Members(2, 1, 1))
        assert hanging.reason == "it sent nothing for 3 s"
        assert (await scoring).rows == expected.rows
        await until(lambda: pool.members == Members(2, 2, 1))
        assert kept in pool.running()


@pytest.mark.slow
async def test_a_member_that_joins_has_all_adapters_and_the_same_model(tmp_path: Path) -> None:
    folder = save_adapter(tmp_path / "adapter", 1)
    alone = FakeEngine()
    await alone.adapters.add("1-a", 1, folder)
    expected = await alone.read([1, 2, 3], [4], "1-a")
    slept: list[float] = []
    go_on = asyncio.Event()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) > 1:
            await go_on.wait()

    read = Read([1, 2, 3], [4], "1-a", 0, None)
    async with fake_pool(2, sleep=sleep) as pool:
        assert pool.adapters is not None
        await pool.adapters.add("1-a", 1, folder)
        os.kill(pool.running()[0].pid, signal.SIGKILL)
        await until(lambda: pool.members == Members(2, 2, 1))
        for member in pool.running():
            assert (await member.read(read)).logprobs == expected.logprobs
        await pool.adapters.remove("1-a")
        for member in pool.running():
            with pytest.raises(ScorerError, match="no adapter"):
                await member.read(read)
        # Its files have changed: the engine that is started now is another one.
        pool._config = ServerConfig(engine="fake", engine_args={"seed": 1})
        os.kill(pool.running()[0].pid, signal.SIGKILL)
        await until(lambda: len(slept) == 2)
        go_on.set()
        await until(lambda: len(slept) > 2)
        assert pool.members == Members(2, 1, 2)


class StandIn:
    """A member that refuses adapters, or ends whenever it has something to do."""

    def __init__(self, error: Exception | None = None):
        self.error, self.held, self.number, self.tokens, self.lost = error, set[str](), 0, 0, asyncio.Event()
        self.ready, self.reads = ready_of(described(FakeEngine())), 0
        self.may_add, self.may_remove = asyncio.Event(), asyncio.Event()
        self.may_add.set()
        self.may_remove.set()

    async def add(self, key: str, number: int, folder: Path) -> None:
        if self.error is not None:
            raise self.error
        await self.may_add.wait()
        self.held.add(key)

    async def remove(self, key: str) -> None:
        await self.may_remove.wait()
        self.held.remove(key)

    async def read(self, read: Read) -> ReadAnswer:
        self.reads += 1
        raise MemberLostError

    async def close(self) -> None: ...


async def test_an_adapter_is_on_all_members_or_on_none() -> None:
    room, folder = AdapterRoom({}, 8), Path("adapter")
    fine, refusing, ended = StandIn(), StandIn(RequestError("rank")), StandIn(MemberLostError())
    with pytest.raises(RequestError, match="rank"):
        await PoolAdapters(room, lambda: [fine, refusing, ended]).add("1-a", 1, folder)
    assert fine.held == set()
    with pytest.raises(UnavailableError):
        await PoolAdapters(room, lambda: [ended]).add("1-a", 1, folder)
    adapters, joining = PoolAdapters(room, lambda: [fine, ended]), StandIn()
    await adapters.add("2-a", 2, folder)
    await adapters.load_all(joining)  # as the one that has ended, when it is back
    assert fine.held == joining.held == {"2-a"}
    other = StandIn()
    adapters = PoolAdapters(room, lambda: [fine, other])
    await adapters.add("3-a", 3, folder)
    other.may_remove.clear()
    removing = asyncio.create_task(adapters.remove("3-a"))
    await until(lambda: "3-a" not in fine.held)
    removing.cancel()
    await asyncio.sleep(0)
    other.may_remove.set()
    with pytest.raises(asyncio.CancelledError):
        await removing
    assert other.held == set()
    other.may_add.clear()
    adding = asyncio.create_task(adapters.add("4-a", 4, folder))
    await until(lambda: "4-a" in fine.held)
    adding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await adding
    assert (fine.held, other.held) == ({"2-a"}, set())
    await adapters.load_all(joining)
    assert joining.held == {"2-a"}


async def test_a_read_that_ends_every_engine_fails() -> None:
    member: Any = StandIn()
    pool = PoolEngine(ServerConfig(), [ANYWHERE], FakeTokenizer(), [member])
    with pytest.raises(ScorerError, match="it may be the cause"):
        await pool.read([1], [2], "base")
    assert (member.reads, member.tokens) == (MAX_LOSSES, 0)
    await pool.close()


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core has no parts")
def test_all_threads_of_a_member_are_on_its_cores() -> None:
    core = max(os.sched_getaffinity(0))

    async def used() -> set[int]:
        place = Place({}, (core,))
        member = await Member.started(0, ServerConfig(engine="fake"), place, lambda text: None)
        try:
            return set().union(*(os.sched_getaffinity(int(name)) for name in os.listdir(f"/proc/{member.pid}/task")))
        finally:
            await member.close()

    assert asyncio.run(used()) == {core}
