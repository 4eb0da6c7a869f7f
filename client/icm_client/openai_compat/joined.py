"""Joins a request's prompts into texts. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from icm_client.contract.prefix_tree import empty_prompt, node_of, prompt_of
from icm_client.contract.wire import ScoreRequest


class JoinedPrompt(NamedTuple):
    """A prompt's whole text, its last piece (the whole text if there is only one piece), and its index in the
    request."""

    text: str
    last: str
    number: int


def joined_prompts(request: ScoreRequest) -> list[JoinedPrompt]:
    """The prompts in the order of the request. Raises RequestError for a reference that does not exist, and for an
    empty prompt."""
    prefixes: list[str] = []
    for number, row in enumerate(request.prefixes):
        node = node_of(request, "prefix", number, row)
        prefixes.append((prefixes[node.parent] if node.parent is not None else "") + "".join(node.added))
    prompts = []
    for number in range(len(request.prompts)):
        node = prompt_of(request, number)
        last = "".join(node.added)
        text = (prefixes[node.parent] if node.parent is not None else "") + last
        if not text:
            raise empty_prompt(number)
        prompts.append(JoinedPrompt(text, last, number))
    return prompts


def used_texts(request: ScoreRequest) -> Iterator[str]:
    """Every text of a prefix or prompt, in this order."""
    for row in [*request.prefixes, *request.prompts]:
        if isinstance(row, str):
            yield row
        else:
            yield from (request.segments[number] for number in row[1:] if number is not None)
