"""Which continuations of which contexts can be asked for in one request. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from icm_client.contract.wire import MAX_LABELS, Prompt, ScoreRequest

MAX_PROMPTS = 16_384
"""In one of the requests made here."""

Pair = tuple[str, str]
"""A context and what might continue it."""


def requests_of(pairs: Iterable[Pair], experiment: str, model: str) -> Iterator[ScoreRequest]:
    """Requests that together ask for every pair, and for hardly one that is not wanted.

    Contexts with the same continuations share a request, and so their reads. A scorer refuses labels whose tokens
    begin another's, which only texts can have that begin another's text: those are asked for apart.
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
    """The texts in lists of at most MAX_LABELS, none of which begins another one of its list."""
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
