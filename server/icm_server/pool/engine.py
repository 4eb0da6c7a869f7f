"""Several engines of one model as one engine: each in a process of its own, on its own GPUs or cores."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence

from icm_client.contract.errors import ScorerError
from icm_server.config import ServerConfig
from icm_server.engines.base import EngineDiedError, Members, Part, ReadAnswer, Route, TextTokenizer
from icm_server.engines.places import Place
from icm_server.engines.registry import Say
from icm_server.logs import event
from icm_server.pool.adapters import PoolAdapters
from icm_server.pool.backoff import Backoff
from icm_server.pool.member import SILENT_S, Member, MemberLostError
from icm_server.pool.messages import Read, Ready
from icm_server.pool.routing import Routing

log = logging.getLogger("icm_server")

MAX_LOSSES = 3
"""Members that may end while they have the same read; then it fails, because it may be the cause."""
MAX_FAILED_STARTS = 5
"""Starts of each member that may fail in succession while no other is up."""

Sleep = Callable[[float], Awaitable[None]]


class PoolEngine:
    """See Engine. Create it with `started`, in the event loop in which it is used."""

    def __init__(
        self,
        config: ServerConfig,
        places: Sequence[Place],
        tokenizer: TextTokenizer,
        members: Sequence[Member],
        *,
        routing: Routing | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Sleep = asyncio.sleep,
        silent_s: float = SILENT_S,
    ):
        """All members are loaded, and of one model."""
        self._config, self._places, self.tokenizer = config, places, tokenizer
        self._sleep, self._silent_s = sleep, silent_s
        first = members[0].ready
        assert first is not None
        self._ready = first
        self.info, self.identity = first.info, first.identity
        self.max_concurrent_reads = len(places) * first.max_concurrent_reads
        self.max_concurrent_tokens = len(places) * first.max_concurrent_tokens
        self.cache_tokens = len(places) * first.cache_tokens
        self._up = {member.number: member for member in members}
        self._some_up = asyncio.Event()
        """Set when a member joins."""
        self._num_lost = 0
        self._routing = routing or Routing()
        self._backoffs = [Backoff(clock) for _ in places]
        self.adapters = PoolAdapters(first.adapters, self.running) if first.adapters is not None else None
        self._keeping = [asyncio.create_task(self._keep(member)) for member in members]

    @classmethod
    async def started(
        cls,
        config: ServerConfig,
        places: Sequence[Place],
        tokenizer: TextTokenizer,
        say: Say,
        *,
        routing: Routing | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Sleep = asyncio.sleep,
        silent_s: float = SILENT_S,
    ) -> PoolEngine:
        """Starts all members at once. Raises RequestError for a user's mistake, ScorerError if one does not start."""
        starting = [
            asyncio.create_task(Member.started(number, config, place, _said_by(number, say), silent_s=silent_s))
            for number, place in enumerate(places)
        ]
        try:
            members = await asyncio.gather(*starting)
            for member in members[1:]:
                _check_same(member, members[0].ready)
        except BaseException:
            for start in starting:
                start.cancel()
            outcomes = await asyncio.gather(*starting, return_exceptions=True)
            await asyncio.gather(*(found.close() for found in outcomes if isinstance(found, Member)))
            raise
        return cls(config, places, tokenizer, members, routing=routing, clock=clock, sleep=sleep, silent_s=silent_s)

    @property
    def members(self) -> Members:
        return Members(len(self._places), len(self.running()), self._num_lost)

    def running(self) -> list[Member]:
        """The members that are up."""
        return [member for member in self._up.values() if not member.lost.is_set()]

    async def read(
        self,
        token_ids: list[int],
        target_ids: Sequence[int],
        model: str,
        rank: int = 0,
        salt: str | None = None,
        route: Route | None = None,
    ) -> ReadAnswer:
        """As Engine.read, by one member, or by others if it ends. While no member is up, reads wait."""
        read = Read(token_ids, target_ids, model, rank, salt)
        route = route or Route(Part(b"", 0), len(token_ids))
        for _ in range(MAX_LOSSES):
            while not self.running():
                self._some_up.clear()
                await self._some_up.wait()
            try:
                return await self._read_by_one(read, route)
            except MemberLostError:
                continue
        raise ScorerError(
            f"{MAX_LOSSES} engines ended while they made this read: it may be the cause", code="engine_ended"
        )

    async def check(self) -> None:
        """Raises EngineDiedError if no member is up, and none starts any more."""
        if not self.running() and all(backoff.num_failures >= MAX_FAILED_STARTS for backoff in self._backoffs):
            raise EngineDiedError(f"none of {len(self._places)} engines starts again; the log has the reasons")

    async def close(self) -> None:
        """Ends all processes."""
        for keeping in self._keeping:
            keeping.cancel()
        await asyncio.gather(*self._keeping, return_exceptions=True)
        await asyncio.gather(*(member.close() for member in self._up.values()))

    async def _read_by_one(self, read: Read, route: Route) -> ReadAnswer:
        num_tokens = len(read.token_ids)
        placed = self._routing.place(route.part, num_tokens, {each.number: each.tokens for each in self.running()})
        member, tokens = self._up[placed.member], route.new_tokens if placed.has_prefix else num_tokens
        member.tokens += tokens
        try:
            return await member.read(read)
        finally:
            member.tokens -= tokens

    async def _keep(self, member: Member) -> None:
        """Starts the member again whenever it has ended."""
        number = member.number
        while True:
            await member.lost.wait()
            del self._up[number]
            self._num_lost += 1
            self._backoffs[number].ended()
            event(log, "engine ended", logging.ERROR, engine=number, up=len(self._up), reason=member.reason)
            await member.close()  # what it left, before another takes its place
            member = await self._started_again(number)
            event(log, "engine is back", engine=number, up=len(self._up))

    async def _started_again(self, number: int) -> Member:
        backoff = self._backoffs[number]
        while True:
            await self._sleep(backoff.wait_s)
            try:
                return await self._joined(number)
            except Exception as error:  # whatever it is, the others go on
                backoff.failed()
                reason = str(error) or type(error).__name__
                event(log, "engine does not start", logging.ERROR, engine=number, reason=reason)

    async def _joined(self, number: int) -> Member:
        """A new process, with all adapters, that takes reads. Raises whatever keeps it from that."""
        say, place = _said_by(number, _logged), self._places[number]
        member = await Member.started(number, self._config, place, say, silent_s=self._silent_s)
        try:
            _check_same(member, self._ready)
            if self.adapters is not None:
                async with self.adapters.changing:
                    await self.adapters.load_all(member)
                    self._join(member)
            else:
                self._join(member)
        except BaseException:
            await asyncio.shield(member.close())
            raise
        return member

    def _join(self, member: Member) -> None:
        self._up[member.number] = member
        self._some_up.set()
        self._backoffs[member.number].started()


def _check_same(member: Member, first: Ready | None) -> None:
    """Raises ScorerError for an engine of another model than the first one's: its answers would be others."""
    assert member.ready is not None
    assert first is not None
    if (member.ready.identity, member.ready.info) != (first.identity, first.info):
        raise ScorerError(
            f"engine {member.number} has another model than the first one (digest {member.ready.info.digest}, not "
            f"{first.info.digest}): did its files change? Restart the scorer",
            code="other_model",
        )


def _said_by(number: int, say: Say) -> Say:
    return lambda text: say(f"engine {number}: {text}")


def _logged(text: str) -> None:
    event(log, text)
