"""What the review page's server answers. The token, the host and the origin are checked before anything else."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import pydantic

import icm_annealer.reporting
from icm_annealer.evaluation.agreement import agreement
from icm_annealer.reviewing.queries import Query
from icm_annealer.reviewing.review import Choice, Review, ReviewedRow
from icm_annealer.runs.review_file import Decided
from icm_client.contract.errors import RequestError
from icm_client.text.validation import first_error

SITE = Path(__file__).parent / "site"
TEMPLATES = Path(icm_annealer.reporting.__file__).parent / "templates"
MAX_BODY_BYTES = 1 << 16
MAX_TEXT_CHARS = 100_000
MAX_ROWS_AT_ONCE = 20
MAX_FIELDS, MAX_DIGITS = 20, 9
TIMEOUT_S = 20.0
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
FILES = {
    "": (SITE / "review.html", "text/html; charset=utf-8"),
    "page.css": (TEMPLATES / "page.css", "text/css; charset=utf-8"),
    "review.css": (SITE / "review.css", "text/css; charset=utf-8"),
    "review.js": (SITE / "review.js", "text/javascript; charset=utf-8"),
}


class RefusedError(Exception):
    """A request that is not answered."""

    def __init__(self, status: HTTPStatus, message: str = ""):
        self.status, self.message = status, message


class Answer(NamedTuple):
    """An answer in JSON."""

    content: Any
    status: HTTPStatus = HTTPStatus.OK


class Site(NamedTuple):
    """What is served, and to whom."""

    review: Review
    token: str
    hosts: tuple[str, ...]
    """What a browser on this machine calls the server. Another name is that of a page elsewhere, whose name service
    answers with this machine's address (DNS rebinding)."""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "icm", ""
    timeout = TIMEOUT_S
    wbufsize, disable_nagle_algorithm = -1, True  # else a body waits 40 ms for the headers' acknowledgement

    def __init__(self, site: Site, *connection: Any):
        self.site = site
        super().__init__(*connection)  # answers all its requests

    def do_GET(self) -> None:
        self._answer({"run": self._run, "numbers": self._numbers, "rows": self._rows})

    def do_POST(self) -> None:
        self._answer({"decisions": self._decisions})

    def log_message(self, format: str, *args: Any) -> None:
        """Logs nothing: a log would hold the token."""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """For requests that are no HTTP, or of another method: the status alone."""
        self.close_connection = True
        self._send(HTTPStatus(code), "text/plain; charset=utf-8", b"")

    def _answer(self, routes: Mapping[str, Callable[[], Answer]]) -> None:
        try:
            name = self._checked_name()
            if self.command == "GET" and name in FILES:
                path, kind = FILES[name]
                self._send(HTTPStatus.OK, kind, path.read_bytes())
                return
            if name not in routes:
                raise RefusedError(HTTPStatus.NOT_FOUND)
            answer = routes[name]()
        except RefusedError as refused:
            self.close_connection = True  # its body was not read
            answer = Answer({"error": refused.message}, refused.status)
        except pydantic.ValidationError as error:
            answer = Answer({"error": first_error(error)}, HTTPStatus.BAD_REQUEST)
        except RequestError as error:
            answer = Answer({"error": error.message}, HTTPStatus.UNPROCESSABLE_ENTITY)
        # ASCII, since texts may hold lone surrogates, which no encoding has.
        self._send(answer.status, "application/json", json.dumps(answer.content).encode("ascii"))

    def _checked_name(self) -> str:
        """The part of the path behind the token."""
        _, _, path = urlsplit(self.path).path.partition("/")
        token, _, name = path.partition("/")
        if not secrets.compare_digest(token.encode(), self.site.token.encode()):
            raise RefusedError(HTTPStatus.NOT_FOUND)
        host = self.headers.get("Host", "")
        if host not in self.site.hosts:
            raise RefusedError(HTTPStatus.MISDIRECTED_REQUEST, "this server is only for pages of this machine")
        if self.headers.get("Origin", f"http://{host}") != f"http://{host}":
            raise RefusedError(HTTPStatus.FORBIDDEN, "from another page")
        return name

    @property
    def _query(self) -> dict[str, str]:
        try:
            return dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True, max_num_fields=MAX_FIELDS))
        except ValueError as error:
            raise RefusedError(HTTPStatus.BAD_REQUEST, str(error)) from None

    def _run(self) -> Answer:
        review = self.site.review
        return Answer({"name": review.name, "title": review.title, "labels": review.label_names, **self._counts()})

    def _numbers(self) -> Answer:
        query = Query.model_validate_json(json.dumps(self._query), strict=False)
        return Answer({"numbers": self.site.review.numbers(query), **self._counts()})

    def _rows(self) -> Answer:
        parts = self._query.get("numbers", "").split(",")
        if len(parts) > MAX_ROWS_AT_ONCE or not all(map(_is_number, parts)):
            raise RefusedError(HTTPStatus.BAD_REQUEST, f"numbers: 1 to {MAX_ROWS_AT_ONCE} of them, parted by commas")
        shown = [_row(self.site.review.shown(int(part))) for part in parts]
        return Answer({"rows": shown, **self._counts()})

    def _decisions(self) -> Answer:
        outcome = self.site.review.decide(Choice.model_validate_json(self._body()))
        content = {"row": _row(outcome.row), **self._counts()}
        return Answer(content, HTTPStatus.OK if outcome.is_saved else HTTPStatus.CONFLICT)

    def _body(self) -> bytes:
        if self.headers.get_content_type() != "application/json":  # a form of another page cannot send this type
            raise RefusedError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "JSON is needed")
        length = self.headers.get("Content-Length", "")
        if not _is_number(length) or "Transfer-Encoding" in self.headers:
            raise RefusedError(HTTPStatus.LENGTH_REQUIRED, "Content-Length is needed")
        if int(length) > MAX_BODY_BYTES:
            raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"more than {MAX_BODY_BYTES} bytes")
        return self.rfile.read(int(length))

    def _counts(self) -> dict[str, Any]:
        rows = self.site.review.rows()
        decided, agreed = Decided.of(rows), agreement(rows)
        share = agreed.share
        return {
            "counts": {
                "rows": len(rows),
                "known": sum(row.known for row in rows),
                "accepted": decided.num_accepted,
                "changed": decided.num_changed,
                "superseded": decided.num_superseded,
                "sampled": agreed.num,
                "kept": agreed.num_kept,
                "share": None if share is None else [share.value, share.low, share.high],
            }
        }

    def _send(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        self.send_response(status)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= MAX_DIGITS


def _row(shown: ReviewedRow) -> dict[str, Any]:
    row = shown.row
    return {
        "number": shown.number,
        "id": row.id,
        "group": row.group,
        "text": shown.text[:MAX_TEXT_CHARS],
        "is_cut": len(shown.text) > MAX_TEXT_CHARS,
        "label": row.label,
        "found": row.found,
        "in_file": shown.in_file,
        "decided": row.decision.label if row.decision else None,
        "probs": list(row.probs.values()),
        "certainty": row.certainty_found,
        "is_known": row.known,
        "is_accepted": row.is_accepted,
        "is_changed": row.is_changed,
        "is_superseded": row.is_superseded,
        "revision": shown.revision,
    }
