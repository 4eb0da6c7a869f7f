"""Every HTTP request has an id, which comes back with its answer and stands in all that is logged of it."""

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
"""What a caller's own id may look like."""


class RequestIds:
    """ASGI middleware, outside all others: the id, a count of answers by status, and a line for every refusal."""

    def __init__(self, app: ASGIApp, responses: Counter[int], paths: Collection[str]):
        """`responses` is counted up; `paths` are those that exist, and alone are logged."""
        self._app, self._responses, self._paths = app, responses, paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        theirs = Headers(scope=scope).get(HEADER, "")
        note = RequestNote(theirs if SANE.fullmatch(theirs) else secrets.token_hex(8))
        scope.setdefault("state", {})["request_id"] = note.id
        current_request.set(note)  # the server runs every request in a context of its own
        status = 0  # until an answer begins: whoever goes before gets none

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[HEADER] = note.id
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except BaseException:
            status = status or 500  # which is answered outside all middleware
            raise
        finally:
            if status:
                self._responses[status] += 1
            if status >= 400 and not note.is_logged and scope["path"] not in OPEN_PATHS:  # those are asked often
                path = scope["path"] if scope["path"] in self._paths else "unknown"
                tenant = scope["state"].get("tenant", ANYONE)
                whose = {} if tenant is ANYONE else {"tenant": tenant.name}
                event(log, REFUSED, method=scope["method"], path=path, status=status, **whose)
