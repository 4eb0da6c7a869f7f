"""Templates: text with the names of columns in braces. A leaf.

Templates are untrusted: what stands in braces is only ever looked up as a column's name, so no attribute, index or
format specification is evaluated.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any

PART = re.compile(r"(?P<brace>\{\{|\}\})|\{(?P<field>[^{}]*)\}|(?P<single>[{}])")


def template_fields(template: str) -> list[str]:
    """The columns that a template names, in order: `{text}`, `{Message Text}`; `{{` and `}}` stand for braces. Raises
    ValueError for a brace without its counterpart, and for empty braces."""
    return [field for _, field in _parts(template) if field]


def filled(template: str, fields: Mapping[str, Any]) -> str:
    """The template with these values in place of the names. Raises KeyError with a missing column's name."""
    return "".join(text + str(fields[field]) if field else text for text, field in _parts(template))


def literals(template: str) -> list[tuple[str, str]]:
    """The template in parts: a text, and the column that follows it, "" behind the last text. Raises as
    `template_fields`."""
    return list(_parts(template))


def escaped(text: str) -> str:
    """A template that stands for this text."""
    return text.replace("{", "{{").replace("}", "}}")


@functools.lru_cache(maxsize=64)
def _parts(template: str) -> tuple[tuple[str, str], ...]:
    parts: list[tuple[str, str]] = []
    text, start = "", 0
    for found in PART.finditer(template):
        text += template[start : found.start()]
        start = found.end()
        if found["brace"]:
            text += found["brace"][0]
        elif found["single"]:
            raise ValueError(f"template: a single {found['single']!r}; write {found['single'] * 2} for a brace")
        elif not (field := found["field"].strip()):
            raise ValueError("template: {} names no column; write one in the braces, or {{}} for braces")
        else:
            parts.append((text, field))
            text = ""
    return (*parts, (text + template[start:], ""))
