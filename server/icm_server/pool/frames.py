"""Messages between a pool and a member's process: JSON objects, each behind its length. A leaf.

Only these two processes have the socket. Nothing that is received is run as code.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from typing import Any

MAX_BYTES = 2**27
"""The largest message: a thousand times that of a quantum of reads."""
_LENGTH = struct.Struct(">I")

Message = dict[str, Any]


class Frames:
    """One end of the socket. Use it in one event loop."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, end: socket.socket) -> Frames:
        return cls(*await asyncio.open_connection(sock=end))

    def send(self, message: Message) -> None:
        """Sends the message, unless the other end is gone."""
        if self._writer.is_closing():
            return
        content = json.dumps(message, separators=(",", ":")).encode()
        self._writer.write(_LENGTH.pack(len(content)) + content)

    async def receive(self) -> Message | None:
        """The next message; None if the other end is gone. Raises ValueError for one that is too long or no object."""
        try:
            (length,) = _LENGTH.unpack(await self._reader.readexactly(_LENGTH.size))
            if length > MAX_BYTES:
                raise ValueError(f"a message of {length} bytes")
            message = json.loads(await self._reader.readexactly(length))
        except (asyncio.IncompleteReadError, OSError):
            return None
        if not isinstance(message, dict):
            raise ValueError("a message that is no object")
        return message

    def finish(self) -> None:
        """The other end receives what was sent, then None; messages from it still arrive."""
        if not self._writer.is_closing():
            with contextlib.suppress(OSError):  # the other end is gone
                self._writer.write_eof()

    def end(self) -> None:
        """No more messages arrive."""
        self._reader.feed_eof()

    def close(self) -> None:
        """Closes the socket when everything is sent."""
        self._writer.close()
