"""Texts and requests split into smaller batches. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from icm_client.contract.prefix_tree import check_references
from icm_client.contract.wire import ScoreRequest

_Item = TypeVar("_Item")


def batches(texts: Iterable[str], max_chars: int, max_texts: int | None = None) -> Iterator[list[str]]:
    """The texts in order, in lists of at most so many characters and texts; a text that is longer is a list alone."""
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


def split(request: ScoreRequest, max_prompts: int) -> Iterator[range]:
    """The request's prompts in ranges of at most `max_prompts`.

    Plans list their prompts depth first, so consecutive prompts are neighbours in the tree: a cut costs the
    shared path once more in the body, and nothing in the engine, whose prefix cache outlives the request.
    """
    for start in range(0, len(request.prompts), max_prompts):
        yield range(start, min(start + max_prompts, len(request.prompts)))


def halves(items: Sequence[_Item]) -> tuple[Sequence[_Item], Sequence[_Item]]:
    """The first half, which is the longer one of an odd number, and the second."""
    middle = -(-len(items) // 2)
    return items[:middle], items[middle:]


def subset(request: ScoreRequest, numbers: Sequence[int]) -> ScoreRequest:
    """The request for these prompts alone, in this order: with all of them, the request itself.

    It carries only the prefixes and segments that they use. Raises RequestError, as the scorer would, where a
    number of the request refers to nothing.
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
        while old is not None and old not in prefixes:  # a loop, since a chain may be deeper than the stack
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
