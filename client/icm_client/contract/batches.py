"""Splits texts and requests into smaller batches. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from icm_client.contract.prefix_tree import check_references
from icm_client.contract.wire import ScoreRequest

_Item = TypeVar("_Item")

GROW_AFTER = 8
"""Accepted batches before a larger size is tried; doubled each time the larger size is rejected."""


def batches(texts: Iterable[str], max_chars: int, max_texts: int | None = None) -> Iterator[list[str]]:
    """The texts in order, in lists of at most so many characters and texts; a longer text is a list by itself."""
    batch: list[str] = []
    num_chars = 0
    for text in texts:
        if batch and (len(batch) == max_texts or num_chars + len(text) > max_chars):
            yield batch
            batch, num_chars = [], 0
        batch.append(text)
        num_chars += len(text)
    if batch:
        yield batch


class PromptBatches:
    """A request's prompts, by index and in order, in batches of at most `max_size`.

    Plans list their prompts depth first, so the prompts of a batch are neighbours in the prefix tree. A split repeats
    their shared path in the body, but not in the engine, whose prefix cache outlives the request.
    """

    def __init__(self, num_prompts: int, max_size: int):
        self._left = deque(range(num_prompts))
        self._size = self._max_size = max_size
        self._num_accepted, self._grow_after, self._has_grown = 0, GROW_AFTER, False

    def take(self) -> list[int]:
        """The next batch; empty once all prompts have been taken."""
        return [self._left.popleft() for _ in range(min(self._size, len(self._left)))]

    def accepted(self) -> None:
        """The last batch was not too large. After several of these, the batch size doubles again."""
        self._num_accepted += 1
        self._has_grown = self._num_accepted == self._grow_after and self._size < self._max_size
        if self._has_grown:
            self._size, self._num_accepted = min(2 * self._size, self._max_size), 0

    def too_large(self, numbers: Sequence[int]) -> None:
        """These prompts of the last batch were too many: they are taken again, in batches of half the size."""
        self._left.extendleft(reversed(numbers))
        self._size, self._num_accepted = -(-len(numbers) // 2), 0
        if self._has_grown:
            self._grow_after *= 2


def halves(items: Sequence[_Item]) -> tuple[Sequence[_Item], Sequence[_Item]]:
    """The first half, which is the longer one of an odd number, and the second half."""
    middle = -(-len(items) // 2)
    return items[:middle], items[middle:]


def subset(request: ScoreRequest, numbers: Sequence[int]) -> ScoreRequest:
    """The request restricted to these prompts, in this order; with all of them, the request itself.

    It contains only the prefixes and segments that they use. Raises RequestError, as the scorer would, for an index
    that does not exist.
    """
    if list(numbers) == list(range(len(request.prompts))):
        return request
    check_references(request)
    segments: dict[int, int] = {}
    prefixes: dict[int, int] = {}
    new_prefixes: list[list[int | None]] = []

    def segment(old: int | None) -> int | None:
        return None if old is None else segments.setdefault(old, len(segments))

    def prefix(old: int | None) -> int | None:
        path = []
        while old is not None and old not in prefixes:  # a loop, because a chain may be deeper than the stack
            path.append(old)
            old = request.prefixes[old][0]
        for node in reversed(path):
            parent, *appended = request.prefixes[node]
            new_parent = None if parent is None else prefixes[parent]
            prefixes[node] = len(new_prefixes)
            new_prefixes.append([new_parent, *map(segment, appended)])
            old = node
        return None if old is None else prefixes[old]

    chosen = [request.prompts[number] for number in numbers]
    prompts = [p if isinstance(p, str) else [prefix(p[0]), *map(segment, p[1:])] for p in chosen]
    return request.model_copy(
        update={
            "segments": [request.segments[old] for old in segments],
            "prefixes": new_prefixes,
            "prompts": prompts,
        }
    )
