"""Reads keys from files. A leaf."""

from __future__ import annotations

from pathlib import Path

from icm_client.contract.errors import RequestError


def read_key(file: Path | None) -> str | None:
    """The API key in a file; None for /dev/null, which stands for a missing secret.

    Raises RequestError if it cannot be read.
    """
    if file is None or file.is_char_device():
        return None
    try:
        return file.read_text(encoding="utf-8-sig").strip()
    except OSError as error:
        raise RequestError(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise RequestError(f"{file} is not an API key: it is not text") from None
