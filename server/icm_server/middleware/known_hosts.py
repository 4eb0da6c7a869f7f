"""Host names under which a scorer without keys answers; it rejects requests that browsers send to other names.

A web page can make its own name resolve to 127.0.0.1 (DNS rebinding); for the browser, a scorer on that machine then
has the page's origin. The Host header still contains the page's name. With keys, such a page is rejected because it has
none.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

from starlette.types import ASGIApp, Receive, Scope, Send

from icm_client.contract.errors import RequestError
from icm_server.middleware.incoming import FOR_STRANGERS, Incoming, refuse

HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~-]+)(?::[0-9]{0,5})?")
"""The format of a Host header: a name or an address (IPv6 in brackets), and a port."""
ANY = "*"


class KnownHosts:
    """ASGI middleware: 400 for a missing, repeated or invalid Host header, 421 for an unknown name.

    Known are addresses, `localhost` and names that end in it, names without a dot (no page on the internet has one),
    and `names`; all names if `*` is among them, or if `names` is None.
    """

    def __init__(self, app: ASGIApp, names: Iterable[str] | None):
        self._app = app
        self._names = None if names is None else frozenset(map(_plain, names))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            try:
                self._check(scope)
            except RequestError as error:
                await refuse(error, (), Incoming(receive), scope, receive, send, FOR_STRANGERS)
                return
        await self._app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        found = [value.decode("latin-1").strip() for name, value in scope["headers"] if name == b"host"]
        if not found and scope.get("http_version") != "1.1":
            return  # not a browser
        match = HOST.fullmatch(found[0]) if len(found) == 1 else None
        if match is None:
            raise RequestError(
                "a request needs exactly one Host header, with a name or an address", code="bad_host", status=400
            )
        name = _plain(match["name"])
        if self._names is None or ANY in self._names or name in self._names or _is_local(name):
            return
        raise RequestError(
            f"without API keys, this scorer answers only to known host names, and {name[:200]!r} is not one: "
            f"start it with --allow-host {name[:200]}, or use its IP address",
            code="unknown_host",
            status=421,
        )


def _plain(name: str) -> str:
    return name.lower().strip("[]").removesuffix(".")


def _is_local(name: str) -> bool:
    """Whether the name cannot belong to a page on the internet."""
    if "." not in name and ":" not in name:
        return True
    if name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
