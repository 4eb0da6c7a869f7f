"""JSON from outside as a value, or an error in one line. A leaf."""

from __future__ import annotations

import json
import re
from typing import Any

HALF = re.compile(r"\\u[dD][89a-fA-F]")
"""An escape that may be half of a surrogate pair, which is no character and cannot be written out again."""


def parsed(text: str) -> Any:
    """The value. Raises ValueError, in one line, for what is no JSON, nests too deep, has numbers of thousands of
    digits, or holds half of a character."""
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if HALF.search(text):
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError("holds half of a surrogate pair, which is no character") from None
    return value
