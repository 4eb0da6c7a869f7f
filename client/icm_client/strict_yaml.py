"""YAML (and JSON) that people write, read without surprises. A leaf.

What YAML takes in silence is refused here: a key that stands twice in a mapping, of which the last would win; aliases,
by which a few lines become more than any memory holds; half of a surrogate pair, which is no character. And all that
PyYAML raises for a broken file is one error.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml
from yaml.constructor import ConstructorError
from yaml.error import MarkedYAMLError, YAMLError
from yaml.events import AliasEvent, Event
from yaml.nodes import MappingNode, Node, ScalarNode

__all__ = ["YAMLError", "one_line", "read_yaml"]

MAX_CHARS = 2**20
MERGE = "tag:yaml.org,2002:merge"
MAX_DEPTH = 64
"""Lists in lists; nobody writes that many by hand."""


def read_yaml(text: str) -> Any:
    """What `text` says, as `yaml.safe_load` reads it. Raises YAMLError alone."""
    if len(text) > MAX_CHARS:
        raise YAMLError(f"more than {MAX_CHARS:,} characters")
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def one_line(error: YAMLError) -> str:
    """What is wrong, and in which line."""
    if isinstance(error, MarkedYAMLError) and error.problem:
        mark = error.problem_mark or error.context_mark
        return " ".join(error.problem.split()) + (f" (line {mark.line + 1})" if mark else "")
    return " ".join(str(error).split())


class _Loader(yaml.SafeLoader):
    _depth = 0

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, AliasEvent):
            raise self._refused(f"*{event.anchor}: aliases are not read; write it out", event)
        if self._depth >= MAX_DEPTH:
            raise self._refused(f"nested more than {MAX_DEPTH} deep", event)
        self._depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1

    @staticmethod
    def _refused(what: str, event: Event) -> YAMLError:
        mark = event.start_mark
        return YAMLError(f"{what} (line {mark.line + 1})" if mark else what)

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value if isinstance(node, MappingNode) else []:
            if key_node.tag == MERGE:
                raise ConstructorError(None, None, "<< is not read; write it out", key_node.start_mark)
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable):
                if key in seen:
                    raise ConstructorError(None, None, f"{key!r} stands there twice", key_node.start_mark)
                seen.add(key)
        return super().construct_mapping(node, deep=deep)

    def construct_object(self, node: Node, deep: bool = False) -> Any:
        try:
            value = super().construct_object(node, deep=deep)
        except YAMLError:
            raise
        except Exception as error:  # of many kinds: a date that is none, a number such as `0x_`, an empty `!!int`
            what = repr(node.value)[:80] if isinstance(node, ScalarNode) else "this"
            raise ConstructorError(None, None, f"{what} cannot be read ({error})", node.start_mark) from None
        return self._whole(value, node) if isinstance(value, str) else value

    def _whole(self, text: str, node: Node) -> str:
        """The text with pairs of surrogates as the one character that they are: JSON writes some so."""
        try:
            return text.encode("utf-16", "surrogatepass").decode("utf-16") if not text.isascii() else text
        except UnicodeDecodeError:
            told = "half of a surrogate pair, which is no character"
            raise ConstructorError(None, None, told, node.start_mark) from None
