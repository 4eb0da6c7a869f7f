"""A scorer's address as a user enters it, and as it may be shown: without a user, a password, or a query."""

from __future__ import annotations

import base64
import re
from typing import NamedTuple
from urllib.parse import unquote

import httpx

from icm_client.contract.errors import RequestError

_PARTS = re.compile(r"(?P<scheme>https?://)(?:(?P<user>[^/?#]*)@)?(?P<place>[^/?#@]+(?:/[^?#@]*)?)", re.I)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.I)
_LONGEST = 2000


class Address(NamedTuple):
    """A URL, which may be shown, and its user and password, which may not."""

    url: str
    """`http://HOST:PORT/PATH`, without a trailing slash."""
    host: str
    basic: str | None
    """The Authorization header's value, if the URL has a user or a password."""

    @classmethod
    def parse(cls, text: str, what: str = "a scorer") -> Address:
        """Raises RequestError if the text is not a URL of `what`; the message contains no part of a password."""
        parts = _PARTS.fullmatch(text.rstrip("/"))
        if parts is None or len(text) > _LONGEST or not text.isprintable():
            raise RequestError(f"{shown(text)!r} is not a URL of {what}: write http://HOST:PORT{_why(text)}")
        url = parts["scheme"].lower() + parts["place"].rstrip("/")
        try:
            parsed = httpx.URL(url)
            host = parsed.host
            if not is_place(parsed):
                raise ValueError("it names no host and port that can be; write http://HOST:PORT")
        except (httpx.InvalidURL, ValueError) as error:
            # The text after the last "@" does not belong to a password.
            raise RequestError(f"{url!r} is not a URL of {what}: {error}") from None
        return cls(url, host, _basic(parts["user"] or ""))


def shown(text: str) -> str:
    """A text that is meant as an address, without parts that may be secret."""
    text = text[:_LONGEST]
    parts = _PARTS.fullmatch(text)
    if parts:
        return parts["scheme"] + parts["place"]
    if not re.search("[@?#]", text):
        return text
    # The password's position is not known, so nothing is shown.
    scheme = _SCHEME.match(text)
    return (scheme[0] if scheme else "") + "..."


def is_place(url: httpx.URL) -> bool:
    """Whether host and port are valid: the network layer does not check them before it connects."""
    labels = url.raw_host.decode("ascii").rstrip(".").split(".")
    fits = all(0 < len(label) < 64 for label in labels) and not re.search(r"[\s%]", url.raw_host.decode("ascii"))
    return fits and (url.port is None or 0 < url.port < 65_536)


def _why(text: str) -> str:
    if "@" in text:
        return "; in a user or password, and behind the host, write @ as %40, / as %2F, ? as %3F and # as %23"
    return ", without a query" if re.search("[?#]", text) else ""


def _basic(user: str) -> str | None:
    if not user.strip(":"):
        return None
    name, _, password = user.partition(":")
    return "Basic " + base64.b64encode(f"{unquote(name)}:{unquote(password)}".encode()).decode()
