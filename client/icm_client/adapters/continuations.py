"""Combines pairs of contexts and continuations into requests. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from icm_client.contract.wire import MAX_LABELS, Prompt, ScoreRequest

MAX_PROMPTS = 16_384
"""The most contexts in one request."""

Pair = tuple[str, str]
"""A context and a possible continuation."""


def requests_of(pairs: Iterable[Pair], experiment: str, model: str) -> Iterator[ScoreRequest]:
    """Requests that together contain all pairs, and few other combinations.

    Contexts with the same continuations share a request, and so their reads. A scorer rejects labels whose tokens begin
    another's. Only a text that begins another text can have such tokens, so these are sent in separate requests.
    """
    of_context: dict[str, dict[str, None]] = {}
    for context, continuation in pairs:
        of_context.setdefault(context, {})[continuation] = None
    contexts_of: dict[tuple[str, ...], list[str]] = {}
    for context, continuations in of_context.items():
        for labels in _apart(list(continuations)):
            contexts_of.setdefault(tuple(labels), []).append(context)
    for labels_, contexts in contexts_of.items():
        left = iter(contexts)
        while some := list[Prompt](islice(left, MAX_PROMPTS)):
            yield ScoreRequest(prompts=some, labels=list(labels_), experiment=experiment, model=model)


def _apart(texts: Sequence[str]) -> list[list[str]]:
    """Lists of at most MAX_LABELS texts, in each of which no text begins another one."""
    lists: list[list[str]] = []
    for text in texts:
        for some in lists:
            if len(some) < MAX_LABELS and not any(_begin(text, other) for other in some):
                some.append(text)
                break
        else:
            lists.append([text])
    return lists


def _begin(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)
