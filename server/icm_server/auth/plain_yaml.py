"""YAML of lists, mappings and scalars alone: JSON, and what people write by hand. A leaf.

It leaves out what can surprise. Types are not guessed: a scalar is its text, or None where it is empty, `~` or `null`
without quotes. Aliases, tags, a name that stands twice and deep nesting are mistakes. So reading a text costs no more
than its length, and no value in it makes a constructor fail.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml
from yaml.events import (
    AliasEvent,
    CollectionStartEvent,
    DocumentEndEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    StreamEndEvent,
)

MAX_DEPTH = 8
_LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
_NOTHING = frozenset({"", "~", "null", "Null", "NULL"})
_END = object()


class PlainYamlError(ValueError):
    """What is wrong with a text, and in which line where that is known."""


def parsed(text: str) -> Any:
    """Lists, dicts of str, str, and None; also None for a text that holds nothing. Raises PlainYamlError."""
    try:
        events = yaml.parse(text, Loader=_LOADER)
        found = [value for value in iter(lambda: _document(events), _END)]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise PlainYamlError(f"line {mark.line + 1}" if mark else "its characters are not text") from None
    if len(found) > 1:
        raise PlainYamlError("it holds several documents")
    return found[0] if found else None


def _document(events: Iterator[Event]) -> Any:
    """The next document's value, or _END."""
    for event in events:
        if isinstance(event, NodeEvent):
            return _value(event, events, MAX_DEPTH)
    return _END


def _value(event: Event, events: Iterator[Event], depth: int) -> Any:
    """What begins with the event; it ends the collection it is in: _END."""
    if isinstance(event, SequenceEndEvent | MappingEndEvent | DocumentEndEvent | StreamEndEvent):
        return _END
    if isinstance(event, AliasEvent):
        raise _wrong(event, "an alias")
    if getattr(event, "tag", None) is not None:
        raise _wrong(event, "a tag")
    if isinstance(event, ScalarEvent):
        return None if event.implicit[0] and event.value in _NOTHING else event.value
    if depth == 0 or not isinstance(event, CollectionStartEvent):
        raise _wrong(event, "nested too deeply")
    values = iter(lambda: _value(next(events), events, depth - 1), _END)
    return _mapping(event, values) if isinstance(event, MappingStartEvent) else list(values)


def _mapping(event: Event, values: Iterator[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in values:
        if not isinstance(name, str):
            raise _wrong(event, "a name that is no text")
        if name in found:
            raise _wrong(event, "a name that stands twice")
        found[name] = next(values)
    return found


def _wrong(event: Event, what: str) -> PlainYamlError:
    return PlainYamlError(f"line {event.start_mark.line + 1}: {what}" if event.start_mark else what)
