"""Answers written piece by piece: in turns, and no faster than the caller reads them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.types import Send

from icm_server.auth.tenant import Tenant
from icm_server.sharing.fair_lock import FairLock

SMALL_VALUES = 2**10
"""A piece of fewer log-probabilities is written at once."""


class AnswerWriter:
    """Writes one answer. JSON and compression hold up everything else in this process, a thread would be no help: so
    pieces have some thousand values, and large ones take turns, by key."""

    def __init__(self, lock: FairLock, tenant: Tenant, num_values: int, stall_s: float):
        """`num_values`: log-probabilities of the whole answer; `stall_s`: who takes nothing for so long has gone."""
        self._lock, self._place, self._stall_s = lock, lock.place(tenant, num_values), stall_s

    async def write(self, send: Send, make: Callable[[], bytes], num_values: int = 0) -> None:
        """Sends the piece that `make` makes, of so many log-probabilities. Raises TimeoutError if nobody reads."""
        if num_values < SMALL_VALUES:
            await self._sent(_sending(send, make()))
            return
        async with self._lock.holding(self._place):
            sending = _sending(send, make())
            await asyncio.sleep(0)  # it is compressed, and whatever else waits is done before the next turn
        await self._sent(sending)

    async def _sent(self, sending: asyncio.Future[None]) -> None:
        async with asyncio.timeout(self._stall_s):
            await sending


def _sending(send: Send, body: bytes) -> asyncio.Future[None]:
    return asyncio.ensure_future(send({"type": "http.response.body", "body": body, "more_body": True}))
