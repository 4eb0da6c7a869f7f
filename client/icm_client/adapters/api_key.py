"""Keys for programs that know nothing of ours. A leaf."""

from __future__ import annotations

from pathlib import Path

from icm_client.errors import RequestError


def key_in(file: str | None) -> str | None:
    """The API key in a file, None if none is named. Raises RequestError if it cannot be read."""
    if file is None:
        return None
    try:
        return Path(file).read_text(encoding="utf-8-sig").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"{file} holds no API key: {error}") from None
