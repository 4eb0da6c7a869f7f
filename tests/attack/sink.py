"""A server that reads and forgets, and answers 200 to whatever falls silent: `sink.py READY_FILE`. For comparison:

what attackers take of the machine, they take of it when they attack this one, too. A leaf.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
SILENCE_S = 0.05


class Sink(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport, self._silent = transport, asyncio.get_running_loop().call_later(60, transport.close)

    def data_received(self, data: bytes) -> None:
        self._silent.cancel()
        self._silent = asyncio.get_running_loop().call_later(SILENCE_S, self._transport.write, ANSWER)

    def connection_lost(self, exc: Exception | None) -> None:
        self._silent.cancel()


async def main(ready_file: str) -> None:
    server = await asyncio.get_running_loop().create_server(Sink, "127.0.0.1", 0, backlog=1024)
    Path(ready_file).write_text(json.dumps({"url": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"}))
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
