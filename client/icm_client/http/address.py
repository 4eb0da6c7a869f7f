"""Where a scorer is, as a person writes it, and as it may be shown: without a user, a password, or a query."""

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
    """A URL, which may be shown, and the user and password that stood in it, which may not."""

    url: str
    """`http://HOST:PORT/PATH`, without a slash at its end."""
    host: str
    basic: str | None
    """The Authorization header's value, where the URL named a user or a password."""

    @classmethod
    def parse(cls, text: str, what: str = "a scorer") -> Address:
        """Raises RequestError, whose message holds no part of a password, if it is no URL of `what`."""
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
            # What follows an "@" is not of a password: the parts were told apart by the last one.
            raise RequestError(f"{url!r} is not a URL of {what}: {error}") from None
        return cls(url, host, _basic(parts["user"] or ""))


def shown(text: str) -> str:
    """Text in which somebody meant to name an address, without what may be secret in it."""
    text = text[:_LONGEST]
    parts = _PARTS.fullmatch(text)
    if parts:
        return parts["scheme"] + parts["place"]
    if not re.search("[@?#]", text):
        return text
    # Which of its parts is the password cannot be told, so nothing of it is shown.
    scheme = _SCHEME.match(text)
    return (scheme[0] if scheme else "") + "..."


def is_place(url: httpx.URL) -> bool:
    """Whether its host and port can be looked for: nothing below looks before it asks the network."""
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
