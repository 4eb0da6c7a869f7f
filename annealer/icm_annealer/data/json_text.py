"""JSON from outside as a value, or an error in one line. A leaf."""

from __future__ import annotations

import json
import re
from typing import Any

MAX_DEPTH = 100
"""Lists and objects in each other. Far less than what Python can go down into, wherever that begins."""
HALF = re.compile(r"\\u[dD][89a-fA-F]")
"""An escape that may be half of a surrogate pair, which is no character and cannot be written out again."""


def parsed(text: str) -> Any:
    """The value. Raises ValueError, in one line, for what is no JSON, nests too deep, has numbers of thousands of
    digits, or holds half of a character."""
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError(f"nested deeper than {MAX_DEPTH}") from None
    if _is_deep(value):
        raise ValueError(f"nested deeper than {MAX_DEPTH}")
    if HALF.search(text):
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError("holds half of a surrogate pair, which is no character") from None
    return value


def _is_deep(value: Any) -> bool:
    """Level by level, since what goes down into a deep value by calling itself fails as the reader of it would."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        inner = (one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list))
        level = [child for children in inner for child in children if isinstance(child, dict | list)]
        if not level:
            return False
    return True
