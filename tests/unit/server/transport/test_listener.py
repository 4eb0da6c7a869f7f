"""The listening socket, with nobody who lets anybody in."""

from __future__ import annotations

import selectors
import socket
import time
from contextlib import ExitStack
from pathlib import Path

from icm_server.transport.descriptors import raise_limit
from icm_server.transport.listener import listen

MANY = 2000


def test_a_wave_of_callers_waits_in_the_kernel_and_none_has_to_come_again() -> None:
    raise_limit()
    allowed = int(Path("/proc/sys/net/core/somaxconn").read_text())
    num = min(MANY, allowed)
    with ExitStack() as opened, selectors.DefaultSelector() as connecting:
        listener = opened.enter_context(listen("127.0.0.1", 0))
        for _ in range(num):
            caller = opened.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex(listener.getsockname())
            connecting.register(caller, selectors.EVENT_WRITE)
        connected = 0
        until = time.monotonic() + 0.9  # who is sent away comes again after a second
        while connected < num and time.monotonic() < until:
            for key, _ in connecting.select(0.1):
                connecting.unregister(key.fileobj)
                connected += 1
    assert connected == num
