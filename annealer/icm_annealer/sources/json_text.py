"""Parses untrusted JSON into a value or a one-line error. A leaf."""

from __future__ import annotations

import json
import re
from typing import Any

MAX_DEPTH = 100
"""The deepest nesting of lists and objects; far below Python's recursion limit at any call depth."""
HALF = re.compile(r"\\u[dD][89a-fA-F]")
"""An escape that may be a lone surrogate, which is no character and cannot be encoded."""


def parsed(text: str) -> Any:
    """The parsed value. Raises ValueError, in one line, for invalid JSON, too deep nesting, numbers with thousands of
    digits, and lone surrogates."""
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
    """Whether a value nests too deep. Iterative, since recursion would fail on such a value."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        inner = (one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list))
        level = [child for children in inner for child in children if isinstance(child, dict | list)]
        if not level:
            return False
    return True
