"""A request's references looked up: its prefix tree as texts, and the order in which to walk it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from icm_client.contract.errors import RequestError, TooLargeError
from icm_client.contract.wire import MAX_REQUEST_CHARS, MAX_REQUEST_NUMBERS, ScoreRequest, label_texts
from icm_server.sharing.steps import STEP_ITEMS, Steps


class Node(NamedTuple):
    """A prefix or a prompt: the prefix that it continues, and the texts that it adds (never an empty one)."""

    parent: int | None
    added: tuple[str, ...]


class RequestTree(NamedTuple):
    """All prefixes (parents first), the prompts in the order asked, and every label's texts."""

    prefixes: list[Node]
    prompts: list[Node]
    labels: list[list[str]]


def read_tree(request: ScoreRequest) -> Steps[RequestTree]:
    """Raises RequestError naming the prefix, prompt, segment or label that is wrong, TooLargeError for too much."""
    rows = [*request.prefixes, *(row for row in request.prompts if not isinstance(row, str))]
    check_size("numbers in its prefixes and prompts", sum(map(len, rows)), MAX_REQUEST_NUMBERS)
    check_size("characters", sum(map(len, given_texts(request))), MAX_REQUEST_CHARS)
    yield
    prefixes: list[Node] = []
    prompts: list[Node] = []
    is_empty: list[bool] = []
    num_done = 0
    for number, row in enumerate(request.prefixes):
        node = _node(request, "prefix", number, row[0], row[1:], number)
        prefixes.append(node)
        is_empty.append(not node.added and (node.parent is None or is_empty[node.parent]))
        num_done += len(row)
        if num_done > STEP_ITEMS:
            yield
            num_done = 0
    for number, prompt in enumerate(request.prompts):
        if isinstance(prompt, str):
            node = Node(None, (prompt,) if prompt else ())
        else:
            node = _node(request, "prompt", number, prompt[0], prompt[1:], len(prefixes))
        prompts.append(node)
        if not node.added and (node.parent is None or is_empty[node.parent]):
            raise RequestError(f"prompt {number} is empty", code="empty_prompt", details={"prompt": number})
        num_done += len(node.added) + 1
        if num_done > STEP_ITEMS:
            yield
            num_done = 0
    return RequestTree(prefixes, prompts, _labels(request))


def given_texts(request: ScoreRequest) -> Iterator[str]:
    """The texts that a request brings, besides its labels'."""
    yield from request.segments
    yield from (prompt for prompt in request.prompts if isinstance(prompt, str))


def check_size(what: str, number: int, limit: int) -> None:
    """Raises TooLargeError if there are more."""
    if number > limit:
        raise TooLargeError(
            f"the request has {number} {what}, more than {limit}: send fewer prompts at once", details={"limit": limit}
        )


def depth_first(tree: RequestTree) -> Steps[list[int]]:
    """The prompts' numbers, those below one prefix next to each other; else in the order asked.

    So a prefix is still in the engine's cache when it is next wanted. Plans send their prompts so already.
    """
    children: dict[int | None, list[int]] = {}
    for number, node in enumerate(tree.prefixes):
        children.setdefault(node.parent, []).append(number)
        if not number % STEP_ITEMS:
            yield
    rank: dict[int | None, int] = {None: 0}
    stack = children.get(None, [])[::-1]
    while stack:
        number = stack.pop()
        rank[number] = len(rank)
        stack.extend(reversed(children.get(number, [])))
        if not len(rank) % STEP_ITEMS:
            yield
    return sorted(range(len(tree.prompts)), key=lambda number: rank[tree.prompts[number].parent])


def _node(
    request: ScoreRequest, kind: str, number: int, parent: int | None, segments: Sequence[int | None], num_known: int
) -> Node:
    if parent is not None and not 0 <= parent < num_known:
        if kind == "prefix" and 0 <= parent < len(request.prefixes):
            what = f"continues prefix {parent}, which does not stand before it (parents come first)"
        else:
            what = f"continues prefix {parent}, but there are {len(request.prefixes)}, counted from 0"
        raise RequestError(f"{kind} {number} {what}", code="bad_prefix", details={kind: number})
    texts = []
    for segment in segments:
        if segment is None or not 0 <= segment < len(request.segments):
            raise RequestError(
                f"{kind} {number} names segment {'null' if segment is None else segment}, "
                f"but there are {len(request.segments)}, counted from 0",
                code="bad_segment",
                details={kind: number},
            )
        if request.segments[segment]:
            texts.append(request.segments[segment])
    return Node(parent, tuple(texts))


def _labels(request: ScoreRequest) -> list[list[str]]:
    labels = [label_texts(label) for label in request.labels]
    owner: dict[str, int] = {}
    for number, texts in enumerate(labels):
        for text in texts:
            if not text:
                raise RequestError(f"label {number} has an empty text", code="empty_label", details={"label": number})
            if text in owner:
                raise RequestError(
                    f"the label text {text!r} stands there twice, in label {owner[text]} and in label {number}",
                    code="duplicate_label",
                    details={"label": number},
                )
            owner[text] = number
    return labels
