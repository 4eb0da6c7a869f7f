"""Reads YAML (and JSON) that people write, strictly. A leaf.

Both readers reject what YAML accepts silently: duplicate keys, of which the last would win; aliases, with which a few
lines can expand beyond any memory; tags and merge keys (`<<`); deep nesting; several documents. So the cost of reading
is proportional to the text's length, and every mistake raises YAMLError.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import Any, NamedTuple

import yaml
from yaml.error import MarkedYAMLError, YAMLError
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
from yaml.nodes import ScalarNode

__all__ = ["YAMLError", "one_line", "quoted", "read_plain_yaml", "read_yaml"]

MAX_CHARS = 2**20
MAX_DEPTH = 64
"""The deepest nesting of lists; nobody writes more by hand."""
_PLAIN_LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
_NOTHING = frozenset({"", "~", "null", "Null", "NULL"})
_MERGE, _MERGE_KEY = "tag:yaml.org,2002:merge", "<<"
_BOOL = "tag:yaml.org,2002:bool"
_TRUTH = frozenset({"true", "True", "TRUE", "false", "False", "FALSE"})
_END = object()


class _Scalar(NamedTuple):
    """How scalars are read, as values and as keys."""

    value: Callable[[ScalarEvent], Any]
    key: Callable[[ScalarEvent], Any]


def read_yaml(text: str) -> Any:
    """The value of `text`, with scalars typed as by `yaml.safe_load`, with two exceptions that keep names as they are
    written: keys are always text, and of truth values only `true` and `false` are (as in YAML 1.2), not `yes`, `no`,
    `on` and `off`. Raises only YAMLError.

    It uses PyYAML's own parser: libyaml rejects surrogate pairs, which JSON may contain.
    """
    return _read(text, yaml.SafeLoader, _typed(yaml.SafeLoader("")))


def read_plain_yaml(text: str) -> Any:
    """The value of `text` as lists, dicts of str, str and None: a scalar is its text, or None if it is empty, `~` or
    `null` without quotes, so a name such as `1e3` or `no` keeps its text. Raises only YAMLError.

    It uses libyaml's parser, which is ten times as fast as the other: a running server reads its keys with it.
    """
    return _read(text, _PLAIN_LOADER, _Scalar(_plain, _plain))


def one_line(error: YAMLError) -> str:
    """The error and its line number."""
    if isinstance(error, MarkedYAMLError) and error.problem:
        mark = error.problem_mark or error.context_mark
        return " ".join(error.problem.split()) + (f" (line {mark.line + 1})" if mark else "")
    return " ".join(str(error).split())


def quoted(text: str) -> str:
    """The text in one line and in double quotes, so that YAML reads it as exactly this text."""
    return yaml.safe_dump(text, default_style='"', allow_unicode=True, width=10**9).strip()


def _read(text: str, loader: Any, scalar: _Scalar) -> Any:
    if len(text) > MAX_CHARS:
        raise YAMLError(f"more than {MAX_CHARS:,} characters")
    events = yaml.parse(text, Loader=loader)
    found = [value for value in iter(lambda: _document(events, scalar), _END)]
    if len(found) > 1:
        raise YAMLError("expected a single document")
    return found[0] if found else None


def _document(events: Iterator[Event], scalar: _Scalar) -> Any:
    """The next document's value, or _END."""
    for event in events:
        if isinstance(event, NodeEvent):
            return _value(event, events, scalar, MAX_DEPTH)
    return _END


def _value(event: Event, events: Iterator[Event], scalar: _Scalar, depth: int) -> Any:
    """The value that begins with the event, or _END if the event ends the enclosing collection."""
    if isinstance(event, SequenceEndEvent | MappingEndEvent | DocumentEndEvent | StreamEndEvent):
        return _END
    if isinstance(event, AliasEvent):
        raise _wrong(event, f"*{event.anchor}: aliases are not supported; write the value out")
    if not depth:
        raise _wrong(event, f"nested more than {MAX_DEPTH} deep")
    tag = getattr(event, "tag", None)
    if tag not in (None, "!"):
        raise _wrong(event, "tags are not supported; write the value without one")
    if isinstance(event, ScalarEvent):
        return scalar.value(event)
    assert isinstance(event, CollectionStartEvent)
    if isinstance(event, MappingStartEvent):
        return _mapping(events, scalar, depth - 1)
    return list(iter(lambda: _value(next(events), events, scalar, depth - 1), _END))


def _mapping(events: Iterator[Event], scalar: _Scalar, depth: int) -> dict[Hashable, Any]:
    found: dict[Hashable, Any] = {}
    for event in events:
        if isinstance(event, ScalarEvent) and event.tag in (None, "!"):
            key = scalar.key(event)
        else:
            key = _value(event, events, scalar, depth)
        if key is _END:
            break
        if not isinstance(key, Hashable):
            raise _wrong(event, "a key has to be text or a number")
        if key in found:
            raise _wrong(event, f"duplicate key {key!r:.60}")
        found[key] = _value(next(events), events, scalar, depth)
    return found


def _plain(event: ScalarEvent) -> str | None:
    return None if event.implicit[0] and event.value in _NOTHING else str(event.value)


def _typed(loader: yaml.SafeLoader) -> _Scalar:
    """Scalars as the loader resolves and constructs them."""

    def value(event: ScalarEvent) -> Any:
        tag: str = loader.resolve(ScalarNode, event.value, event.implicit)  # type: ignore[no-untyped-call]
        if tag == _MERGE:
            raise _wrong(event, "<< is not supported; write the keys out")
        if tag == _BOOL and event.value not in _TRUTH:
            return event.value
        try:
            found = loader.construct_object(ScalarNode(tag, event.value))
            loader.constructed_objects.clear()
        except Exception as error:  # of many kinds: an invalid date, a number such as `0x_`
            raise _wrong(event, f"{event.value!r:.80} cannot be read ({str(error).splitlines()[0]})") from None
        return _whole(event, found) if isinstance(found, str) else found

    def key(event: ScalarEvent) -> Any:
        if event.implicit[0] and event.value == _MERGE_KEY:
            raise _wrong(event, "<< is not supported; write the keys out")
        return _whole(event, event.value)

    return _Scalar(value, key)


def _whole(event: Event, text: str) -> str:
    """Surrogate pairs, which JSON may contain, joined into single characters."""
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16") if not text.isascii() else text
    except UnicodeDecodeError:
        raise _wrong(event, "half of a surrogate pair, which is not a character") from None


def _wrong(event: Event, what: str) -> YAMLError:
    mark = event.start_mark
    return YAMLError(f"{what} (line {mark.line + 1})" if mark else what)
