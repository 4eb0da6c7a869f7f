"""Proxies by hand, on sockets: one that leads to a port of this machine, and one that refuses."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

import pytest

VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@contextlib.contextmanager
def environment(**variables: str) -> Iterator[None]:
    """These variables, and no others of proxies, in this process."""
    with pytest.MonkeyPatch.context() as patch:
        for name in VARIABLES:
            patch.delenv(name, raising=False)
            patch.delenv(name.lower(), raising=False)
        for name, value in variables.items():
            patch.setenv(name, value)
        yield


class SmallProxy:
    """Takes requests for any host to `target`, or refuses them with 403 if there is none; `asked` has each one's first
    line, and `authorizations` the users who asked."""

    def __init__(self, target: int | None = None):
        self._target = target
        self.asked: list[str] = []
        self.authorizations: list[str] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            line, _, fields = head.decode().partition("\r\n")
            self.asked.append(line)
            for field in fields.split("\r\n"):
                name, _, value = field.partition(": ")
                if name.lower() == "proxy-authorization":
                    self.authorizations.append(value)
            if self._target is None:
                page = b"<html>not here</html>"
                writer.write(
                    b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(page) + page
                )
            else:
                method, url, version = line.split()
                path = "/" + url.split("/", 3)[3]
                far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
                fields = fields.replace("Connection: keep-alive", "Connection: close")
                far_writer.write(f"{method} {path} {version}\r\n{fields}".encode())
                forth = asyncio.create_task(_copy(reader, far_writer))
                await _copy(far_reader, writer)
                forth.cancel()
                far_writer.close()
            await writer.drain()
        writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()


@contextlib.asynccontextmanager
async def proxy(target: int | None = None) -> AsyncIterator[SmallProxy]:
    """A proxy that listens as long as the context lasts."""
    small = SmallProxy(target)
    server = await asyncio.start_server(small.serve, "127.0.0.1", 0)
    small.port = int(server.sockets[0].getsockname()[1])
    try:
        yield small
    finally:
        server.close()
