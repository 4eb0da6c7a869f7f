"""Adapters of a pool: on every member, or on none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from icm_client.contract.errors import UnavailableError
from icm_server.adapters.weights_file import Shapes
from icm_server.pool.member import MemberLostError
from icm_server.pool.messages import AdapterRoom


class _Loaded(NamedTuple):
    number: int
    folder: Path


class AdapterMember(Protocol):
    """The part of a member that has adapters. Both raise MemberLostError if it ends."""

    async def add(self, key: str, number: int, folder: Path) -> None: ...

    async def remove(self, key: str) -> None: ...


class PoolAdapters:
    """See AdapterHost. A member that joins gets all adapters before its first read."""

    def __init__(self, room: AdapterRoom, members: Callable[[], Sequence[AdapterMember]]):
        """`members` returns those that are up."""
        self.base: Shapes = room.base
        self.max_rank = room.max_rank
        self._members = members
        self._loaded: dict[str, _Loaded] = {}
        self.changing = asyncio.Lock()
        """Held while adapters change, and while a member joins."""

    async def add(self, key: str, number: int, folder: Path) -> None:
        """As AdapterHost.add: if one member refuses the adapter, the others unload it again. Raises UnavailableError
        if no member is up."""
        async with self.changing:
            members = self._members()
            try:
                outcomes = await asyncio.gather(
                    *(member.add(key, number, folder) for member in members), return_exceptions=True
                )
            except asyncio.CancelledError:
                await asyncio.shield(_removed(members, key))
                raise
            done = [member for member, outcome in zip(members, outcomes, strict=True) if outcome is None]
            failures = [outcome for outcome in outcomes if outcome is not None]
            failures = [failure for failure in failures if not isinstance(failure, MemberLostError)]
            if failures or not done:
                await _removed(done, key)
                raise failures[0] if failures else UnavailableError("no engine is up", code="not_ready")
            self._loaded[key] = _Loaded(number, folder)

    async def remove(self, key: str) -> None:
        """As AdapterHost.remove; once begun, it is done on all members, even if it is cancelled."""
        async with self.changing:
            del self._loaded[key]
            removing = asyncio.gather(*(member.remove(key) for member in self._members()), return_exceptions=True)
            try:
                outcomes = await asyncio.shield(removing)
            except asyncio.CancelledError:
                await asyncio.wait([removing])
                raise
        for outcome in outcomes:
            if outcome is not None and not isinstance(outcome, MemberLostError):
                raise outcome

    async def load_all(self, member: AdapterMember) -> None:
        """Loads all adapters into a member that joins; hold `changing` until it is up. Raises what
        `AdapterMember.add` raises."""
        for key, loaded in self._loaded.items():
            await member.add(key, loaded.number, loaded.folder)


async def _removed(members: Sequence[AdapterMember], key: str) -> None:
    """Unloads what these members have loaded of an adapter."""
    await asyncio.gather(*(member.remove(key) for member in members), return_exceptions=True)
