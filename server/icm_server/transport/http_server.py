"""uvicorn's server, which here accepts connections in small batches and checks their transfer rates."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import sys
import time
from collections.abc import Callable, Iterator

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from icm_server.config import ConnectionLimits
from icm_server.logs import event
from icm_server.transport.connections import Connections
from icm_server.transport.http_protocol import LimitedProtocol

log = logging.getLogger("icm_server")

GRACE_S = 5
"""How long complete answers may take to be sent when the scorer stops."""
TICKS_A_LOOK = 5
"""Of uvicorn's ticks, a tenth of a second each."""
FEW = 8
"""The smallest number of connections accepted in one batch."""
PAUSE_S = 0.05
"""How long no connection is accepted after descriptors have run out."""
_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class HttpServer(uvicorn.Server):
    """Serves an ASGI application to at most `max_connections` (see `connections.py`).

    `has_keys`: the application reports the holder of a request's key by `scope["state"]["connection"].known_as(name)`.
    """

    def __init__(
        self,
        app: object,
        limits: ConnectionLimits,
        *,
        max_connections: int,
        has_keys: bool,
        access_log: bool = False,
    ):
        super().__init__(
            uvicorn.Config(
                app,  # type: ignore[arg-type]
                http=HttpToolsProtocol,
                ws="none",
                proxy_headers=False,
                log_config=None,
                timeout_graceful_shutdown=GRACE_S,
                access_log=access_log,
            )
        )
        self._limits, self._has_keys = limits, has_keys
        self.registry = Connections(max_connections, limits.max_per_address, shared=has_keys)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """`stopping` handles signals; uvicorn would raise them again after its shutdown."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Like uvicorn's, but with listeners that accept connections in batches."""
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            sys.exit(STARTUP_FAILURE)
        self.servers = [BatchListener(each, self._protocol, self.registry) for each in sockets or ()]  # type: ignore[misc]
        self.started = True

    async def on_tick(self, counter: int) -> bool:
        if counter % TICKS_A_LOOK == 0:
            now = asyncio.get_running_loop().time()
            for connection in list(self.server_state.connections):
                if isinstance(connection, LimitedProtocol):
                    connection.look(now)
        return await super().on_tick(counter)

    def _protocol(self) -> LimitedProtocol:
        return LimitedProtocol(
            self.config,
            self.server_state,
            self.lifespan.state,
            limits=self._limits,
            registry=self.registry,
            has_keys=self._has_keys,
        )


class BatchListener:
    """One listening socket. It accepts connections in small batches, so that requests on open connections are read in
    between.

    If reading them takes long, batches grow to half of this time; otherwise the backlog would wait for seconds. `clock`
    returns seconds.
    """

    def __init__(
        self,
        listener: socket.socket,
        make_protocol: Callable[[], LimitedProtocol],
        registry: Connections,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.sockets = [listener]
        self._clock, self._left_at = clock, clock()
        self._listener, self._make_protocol, self._registry = listener, make_protocol, registry
        self._loop = asyncio.get_running_loop()
        self._entering: set[asyncio.Task[None]] = set()
        self._is_open = True
        listener.setblocking(False)
        self._loop.add_reader(listener.fileno(), self._let_in)

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            self._loop.remove_reader(self._listener.fileno())
            self._listener.close()

    async def wait_closed(self) -> None:
        """Nothing to wait for."""

    def _let_in(self) -> None:
        begun = self._clock()
        until = begun + (begun - self._left_at) / 2
        for number in range(self._registry.at_once):
            if number >= FEW and self._clock() >= until:
                break
            try:
                connection, address = self._listener.accept()
            except (BlockingIOError, InterruptedError):
                break
            except OSError as error:
                if error.errno in _NO_ROOM:
                    self._make_room(error)
                break  # or a connection that was closed before it was accepted
            protocol = self._make_protocol()
            self._registry.add(protocol, address[0])
            task = self._loop.create_task(self._enter(connection, protocol))
            self._entering.add(task)
            task.add_done_callback(self._entering.discard)
        self._left_at = self._clock()

    async def _enter(self, connection: socket.socket, protocol: LimitedProtocol) -> None:
        connection.setblocking(False)
        try:
            # asyncio sets this option only if a socket was created with the protocol number. An answer is written in
            # two parts; without TCP_NODELAY the second part waits 40 ms on a reused connection.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._loop.connect_accepted_socket(lambda: protocol, connection)
        except OSError:
            connection.close()
            self._registry.remove(protocol)

    def _make_room(self, error: OSError) -> None:
        """A pending connection is reported again and again, so the listener pauses for a moment."""
        event(log, "cannot accept a connection", logging.ERROR, reason=error.strerror, connections=len(self._registry))
        self._registry.displace_one()
        self._loop.remove_reader(self._listener.fileno())
        self._loop.call_later(PAUSE_S, self._open_again)

    def _open_again(self) -> None:
        if self._is_open:
            self._loop.add_reader(self._listener.fileno(), self._let_in)
