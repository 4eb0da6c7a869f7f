"""Resolves a request's references: its prefix tree as texts, and the order of traversal. Pure."""

from __future__ import annotations

from typing import NamedTuple

from icm_client.contract.errors import TooLargeError
from icm_client.contract.prefix_tree import Node, checked_labels, empty_prompt, given_texts, node_of, prompt_of
from icm_client.contract.wire import MAX_REQUEST_CHARS, MAX_REQUEST_NUMBERS, ScoreRequest
from icm_server.sharing.steps import STEP_ITEMS, Steps


class RequestTree(NamedTuple):
    """All prefixes (parents first), the prompts in the order of the request, and each label's texts."""

    prefixes: list[Node]
    prompts: list[Node]
    labels: list[list[str]]


def read_tree(request: ScoreRequest) -> Steps[RequestTree]:
    """Raises RequestError naming the wrong prefix, prompt, segment or label, TooLargeError if a limit is exceeded."""
    rows = [*request.prefixes, *(row for row in request.prompts if not isinstance(row, str))]
    check_size("numbers in its prefixes and prompts", sum(map(len, rows)), MAX_REQUEST_NUMBERS)
    check_size("characters", sum(map(len, given_texts(request))), MAX_REQUEST_CHARS)
    yield
    prefixes: list[Node] = []
    prompts: list[Node] = []
    is_empty: list[bool] = []
    num_done = 0
    for number, row in enumerate(request.prefixes):
        node = node_of(request, "prefix", number, row)
        prefixes.append(node)
        is_empty.append(not node.added and (node.parent is None or is_empty[node.parent]))
        num_done += len(row)
        if num_done > STEP_ITEMS:
            yield
            num_done = 0
    for number in range(len(request.prompts)):
        node = prompt_of(request, number)
        prompts.append(node)
        if not node.added and (node.parent is None or is_empty[node.parent]):
            raise empty_prompt(number)
        num_done += len(node.added) + 1
        if num_done > STEP_ITEMS:
            yield
            num_done = 0
    return RequestTree(prefixes, prompts, checked_labels(request.labels))


def check_size(what: str, number: int, limit: int) -> None:
    """Raises TooLargeError if there are more."""
    if number > limit:
        raise TooLargeError(
            f"the request has {number} {what}; the limit is {limit}: send fewer prompts per request",
            details={"limit": limit},
        )


def depth_first(tree: RequestTree) -> Steps[list[int]]:
    """The prompts' indices, depth first: prompts below one prefix are neighbours, otherwise in the order of the
    request.

    So a prefix is still in the engine's cache for its next prompt. Plans send their prompts in this order already.
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
