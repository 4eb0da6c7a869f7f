"""Gives every HTTP request an id, which is returned with its answer and logged with its events."""

from __future__ import annotations

import logging
import re
import secrets
from collections import Counter
from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from icm_server.auth.open_paths import OPEN_PATHS
from icm_server.auth.tenant import ANYONE
from icm_server.logs import REFUSED, RequestNote, current_request, event

log = logging.getLogger("icm_server")

HEADER = "X-Request-Id"
SANE = re.compile(r"[A-Za-z0-9._:@+=-]{1,64}")
"""The format of an id that a client sends."""


class RequestIds:
    """ASGI middleware, outside all others: sets the id, counts answers by status, and logs every rejection."""

    def __init__(self, app: ASGIApp, responses: Counter[int], paths: Collection[str]):
        """`responses` is incremented; `paths` are the existing paths: other paths are not logged."""
        self._app, self._responses, self._paths = app, responses, paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        theirs = Headers(scope=scope).get(HEADER, "")
        note = RequestNote(theirs if SANE.fullmatch(theirs) else secrets.token_hex(8))
        scope.setdefault("state", {})["request_id"] = note.id
        current_request.set(note)  # the server runs every request in a context of its own
        status = 0  # before an answer begins; it stays 0 if the client disconnects first

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[HEADER] = note.id
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except BaseException:
            status = status or 500  # this is answered outside all middleware
            raise
        finally:
            if status:
                self._responses[status] += 1
            if status >= 400 and not note.is_logged and scope["path"] not in OPEN_PATHS:  # probes of these are frequent
                path = scope["path"] if scope["path"] in self._paths else "unknown"
                tenant = scope["state"].get("tenant", ANYONE)
                whose = {} if tenant is ANYONE else {"tenant": tenant.name}
                event(log, REFUSED, method=scope["method"], path=path, status=status, **whose)
