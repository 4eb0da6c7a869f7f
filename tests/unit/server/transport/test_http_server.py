"""How many callers are let in before those inside are heard again."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import uvicorn
from tests.hand_clock import HandClock
from uvicorn.server import ServerState

from icm_server.config import ConnectionLimits
from icm_server.engines.fake import FakeEngine
from icm_server.http.app import create_app
from icm_server.transport.connections import Connections
from icm_server.transport.http_protocol import LimitedProtocol
from icm_server.transport.http_server import FEW, BatchListener
from icm_server.transport.listener import listen

CALLERS = 100


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """With callers who wait."""
    with ExitStack() as opened:
        listener = opened.enter_context(listen("127.0.0.1", 0))
        for _ in range(CALLERS):
            opened.enter_context(socket.create_connection(listener.getsockname()))
        yield listener


async def make_engine() -> FakeEngine:
    return FakeEngine()


async def let_in(listener: socket.socket, seconds: float, registry: Connections) -> list[int]:
    """How many come in, turn by turn; those inside take so many seconds each time."""
    config = uvicorn.Config(create_app(make_engine), ws="none", log_config=None)
    config.load()

    def protocol() -> LimitedProtocol:
        return LimitedProtocol(config, ServerState(), {}, limits=ConnectionLimits(), registry=registry, has_keys=False)

    clock, numbers = HandClock(), [0]
    door = BatchListener(listener, protocol, registry, clock)
    for _ in range(10 * CALLERS):
        clock.now += seconds
        await asyncio.sleep(0)
        if len(registry) > numbers[-1]:
            numbers.append(len(registry))
    door.close()
    return [after - before for before, after in itertools.pairwise(numbers)]


async def test_a_few_come_in_at_a_time_while_those_inside_are_heard_quickly(listener: socket.socket) -> None:
    assert max(await let_in(listener, 0.0, Connections(4096, CALLERS, shared=False))) == FEW


async def test_more_come_in_at_a_time_while_hearing_those_inside_takes_long(listener: socket.socket) -> None:
    assert await let_in(listener, 1.0, Connections(4096, CALLERS, shared=False)) == [CALLERS]


async def test_no_more_come_in_at_a_time_than_can_show_a_key_before_others_take_their_places(
    listener: socket.socket,
) -> None:
    assert max(await let_in(listener, 1.0, Connections(8 * 4 * 10, CALLERS, shared=False))) == 10
