"""What both HTTP clients here have in common: the key's header, and what a redirect is told as."""

from __future__ import annotations

import re

import httpx

from icm_client.errors import RequestError


def authorization(api_key: str | None) -> dict[str, str]:
    """The header for a key. Raises RequestError, in which the key is not named, if it cannot stand in one."""
    if api_key is None:
        return {}
    wrong = re.search(r"[^!-~]", api_key)
    if not api_key or wrong:
        why = f"its character {wrong.start() + 1} is a space, or not of ASCII" if wrong else "it is empty"
        raise RequestError(f"this cannot be an API key: {why}. Is it the right file?", code="bad_key")
    return {"Authorization": f"Bearer {api_key}"}


def moved(url: str, response: httpx.Response) -> RequestError | None:
    """The error for a redirect, which is not followed: a key is for one address."""
    if not response.has_redirect_location:
        return None
    place = response.headers["Location"][:200]
    return RequestError(
        f"{url} answers that it has moved, to {place!r}: give that address if it is your scorer's", code="moved"
    )
