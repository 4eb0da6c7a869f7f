"""What is attacked, and raw connections to it: attackers do not keep to HTTP. A leaf."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field

RETRY_S = 0.1
"""The least between two tries of one attacker: what is refused at once must not become a load of its own."""
SIGNS_PER_S = 300.0
MAX_BEGIN_PER_S = 500.0
LINUX_BIND_ADDRESS_NO_PORT = 24


class Connection:
    """One connection. What it sends and is answered is counted."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: Counter[str]):
        self.reader, self._writer, self._seen = reader, writer, seen

    async def send(self, data: bytes) -> None:
        """Raises ConnectionError once the other side has closed."""
        self._writer.write(data)
        self._seen["bytes"] += len(data)
        await self._writer.drain()

    async def answer(self) -> int:
        """The status of one whole answer, whose body is read and forgotten. Raises EOFError if none comes."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        status = int(head.split(b" ", 2)[1])
        self._seen[str(status)] += 1
        if b"transfer-encoding: chunked" in head:
            while size := int(await self.reader.readline(), 16):
                await self._skip(size + 2)
            await self.reader.readline()
        elif b"content-length: " in head:
            await self._skip(int(head.partition(b"content-length: ")[2].split(b"\r")[0]))
        return status

    async def _skip(self, num_bytes: int) -> None:
        while num_bytes:
            piece = await self.reader.read(min(num_bytes, 2**16))
            if not piece:
                raise EOFError
            num_bytes -= len(piece)


@dataclass(frozen=True)
class Target:
    """A server, and what attackers may use against it."""

    host: str
    port: int
    key: str = ""
    """The attackers' own; they have no other."""
    max_body_bytes: int = 32 * 2**20
    """The largest body that it takes."""
    addresses: tuple[str, ...] = ()
    """Where attackers come from, in turn; none: whatever the system gives them."""
    seen: Counter[str] = field(default_factory=Counter)
    """Connections, bytes sent, and answers by status."""
    _turn: Iterator[int] = field(default_factory=itertools.count)

    @contextlib.asynccontextmanager
    async def connection(self, receive_bytes: int | None = None) -> AsyncIterator[Connection]:
        """Ends without a farewell. `receive_bytes`: how much the system may take for a slow reader."""
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        with socket.socket(family) as plain:
            plain.setblocking(False)
            if receive_bytes is not None:
                plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
            if self.addresses:
                plain.setsockopt(socket.IPPROTO_IP, LINUX_BIND_ADDRESS_NO_PORT, 1)
                plain.bind((self.addresses[next(self._turn) % len(self.addresses)], 0))
            async with asyncio.timeout(10):
                await asyncio.get_running_loop().sock_connect(plain, (self.host, self.port))
            reader, writer = await asyncio.open_connection(sock=plain.dup(), limit=receive_bytes or 2**16)
        self.seen["connections"] += 1
        try:
            yield Connection(reader, writer, self.seen)
        finally:
            writer.transport.abort()

    def head(self, method: str, path: str, *, keyed: bool = True, ends: bool = True, **headers: str | int) -> bytes:
        """A request's first lines; `Content_Type="..."` is a header. Without `ends` the empty line is left out."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.host}:{self.port}"]
        if keyed:
            lines.append(f"Authorization: Bearer {self.key}")
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        return "\r\n".join([*lines, "", ""] if ends else lines).encode()

    def post(self, path: str, body: bytes, *, keyed: bool = True, **headers: str | int) -> bytes:
        """A whole request with a JSON body."""
        kind: dict[str, str | int] = {"Content_Type": "application/json", "Content_Length": len(body)}
        return self.head("POST", path, keyed=keyed, **{**kind, **headers}) + body

    async def ask(self, request: bytes) -> int:
        """Sends it on a connection of its own and reads the answer: its status."""
        async with self.connection() as connection:
            await connection.send(request)
            return await connection.answer()


def unhurried(num: int, least_s: float) -> float:
    """The pause between two signs of life of so many slow attackers, all of whom give a few hundred a second."""
    return max(least_s, num / SIGNS_PER_S)


async def crowd(num: int, once: Callable[[], Awaitable[object]], every_s: float = 0.0) -> None:
    """So many attackers, each doing `once` again and again, no oftener than every so many seconds; for ever.

    They begin one after the other, hundreds a second. What goes wrong with one of them is what the server did to it.
    """
    clock = asyncio.get_running_loop().time

    async def again(number: int) -> None:
        await asyncio.sleep(number * max(every_s / 4 / num, 1 / MAX_BEGIN_PER_S))
        while True:
            begun = clock()
            with contextlib.suppress(OSError, EOFError, ValueError, asyncio.LimitOverrunError):
                await once()
            await asyncio.sleep(max(RETRY_S, every_s - (clock() - begun)))

    async with asyncio.TaskGroup() as tasks:
        for number in range(num):
            tasks.create_task(again(number))
