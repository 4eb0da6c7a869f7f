"""The socket on which a scorer listens. A leaf."""

from __future__ import annotations

import socket

from icm_client.contract.errors import RequestError

MOST_WAITING = 65535
"""The kernel's backlog of connections that are not accepted yet, limited by net.core.somaxconn. A client that finds it
full tries again after one second, then after two more, which would delay a burst of clients."""


def listen(host: str, port: int) -> socket.socket:
    """Listens at once, so that a second scorer finds the port in use. Raises RequestError if it cannot."""
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
