"""A bounded memory in front of a function that is fast only in batches. A leaf."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Generic, TypeVar

from cachetools import LRUCache

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Remembered(Generic[K, V]):
    """`compute(keys)` answers a value for each key; at most `max_entries` are kept, the least recently used go."""

    def __init__(self, compute: Callable[[Sequence[K]], Iterable[V]], max_entries: int):
        self._compute = compute
        self._known: LRUCache[K, V] = LRUCache(max_entries)

    def of(self, keys: Iterable[K]) -> dict[K, V]:
        """The values of all keys, those not remembered computed in one call."""
        found: dict[K, V] = {}
        unknown: dict[K, None] = {}
        for key in keys:
            if key in found or key in unknown:
                continue
            value = self._known.get(key)
            if value is None:
                unknown[key] = None
            else:
                found[key] = value
        if unknown:
            computed = dict(zip(unknown, self._compute(list(unknown)), strict=True))
            found.update(computed)
            self._known.update(computed)
        return found
