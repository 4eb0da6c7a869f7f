"""How fast a body has to arrive."""

from __future__ import annotations

import asyncio

from icm_client.contract.errors import RequestError
from icm_server.config import ConnectionLimits
from icm_server.middleware.incoming import Incoming

TOO_SLOW = "body_timeout"


class BodyPace:
    """The pieces of one body. Only the client's time counts: a busy scorer is not the client's fault."""

    def __init__(self, incoming: Incoming, limits: ConnectionLimits):
        self._incoming, self._limits = incoming, limits
        self.num_bytes = 0
        """Arrived until now, as sent."""
        self._waited_s = 0.0

    async def next(self) -> bytes:
        """The next piece. Raises RequestError (408) if it comes too late, ConnectionError if the client disconnects."""
        limits, clock = self._limits, asyncio.get_running_loop().time
        allowed_s = limits.body_grace_s + self.num_bytes / limits.min_bytes_per_s
        begin = clock()
        try:
            piece = await self._incoming.next(min(limits.body_silence_s, allowed_s - self._waited_s))
        except TimeoutError:
            raise RequestError(
                f"the body arrives too slowly: nothing for {limits.body_silence_s:g} s, or fewer than "
                f"{limits.min_bytes_per_s} bytes a second after the first {limits.body_grace_s:g} s",
                code=TOO_SLOW,
                status=408,
            ) from None
        self._waited_s += clock() - begin
        self.num_bytes += len(piece)
        return piece
