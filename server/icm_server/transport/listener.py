"""The socket that a scorer is reached by. A leaf."""

from __future__ import annotations

import socket

from icm_client.contract.errors import RequestError

MOST_WAITING = 65535
"""Connections that the kernel keeps until they are let in; it keeps as many as net.core.somaxconn says, at most. Who
finds no place there tries again after a second, then after two more: seconds that a wave of callers would lose."""


def listen(host: str, port: int) -> socket.socket:
    """It listens at once, so that a second scorer finds the port busy. Raises RequestError if it cannot."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(MOST_WAITING)
    except OSError as error:
        listener.close()
        raise RequestError(
            f"cannot listen on {host}:{port} ({error.strerror}): choose another --port, or 0 for any free one",
            code="busy_port",
        ) from None
    return listener
