"""A bounded LRU cache in front of a function that is fast only in batches. A leaf."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Generic, TypeVar

from cachetools import LRUCache

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class BatchLru(Generic[K, V]):
    """`compute(keys)` returns a value for each key. Values are cached up to a total of `max_weight`, measured by
    `weight(key)`.

    The least recently used are evicted first.
    """

    def __init__(self, compute: Callable[[Sequence[K]], Iterable[V]], max_weight: int, weight: Callable[[K], int]):
        self._compute, self._weight, self._max_weight = compute, weight, max_weight
        self._known: LRUCache[K, tuple[int, V]] = LRUCache(max_weight, getsizeof=lambda entry: entry[0])

    def of(self, keys: Iterable[K]) -> dict[K, V]:
        """The values of all keys; those not cached are computed in one call."""
        found: dict[K, V] = {}
        unknown: dict[K, None] = {}
        for key in keys:
            if key in found or key in unknown:
                continue
            entry = self._known.get(key)
            if entry is None:
                unknown[key] = None
            else:
                found[key] = entry[1]
        if unknown:
            for key, value in zip(unknown, self._compute(list(unknown)), strict=True):
                found[key] = value
                weight = self._weight(key)
                if weight <= self._max_weight:
                    self._known[key] = (weight, value)
        return found
