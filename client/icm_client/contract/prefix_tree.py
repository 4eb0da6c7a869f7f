"""Resolves a request's references and label texts: the first checks of both sides. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

from icm_client.contract.errors import RequestError
from icm_client.contract.wire import Label, Row, ScoreRequest, label_texts
from icm_client.text.counts import counted


class Node(NamedTuple):
    """A prefix or a prompt: the prefix that it continues, and the texts that it appends (never an empty one)."""

    parent: int | None
    added: tuple[str, ...]


def node_of(request: ScoreRequest, kind: Literal["prefix", "prompt"], number: int, row: Row) -> Node:
    """Row `number` of the request's prefixes or prompts. Raises RequestError for a reference that does not exist."""
    parent, *segments = row
    num_before = number if kind == "prefix" else len(request.prefixes)
    if parent is not None and not 0 <= parent < num_before:
        if kind == "prefix" and 0 <= parent < len(request.prefixes):
            problem = f"refers to prefix {parent}, which does not come before it (list parents first)"
        else:
            problem = (
                f"refers to prefix {parent}; the request has {counted(len(request.prefixes), 'prefix')}, counted from 0"
            )
        raise RequestError(f"{kind} {number} {problem}", code="bad_prefix", details={kind: number})
    texts = []
    for segment in segments:
        if segment is None or not 0 <= segment < len(request.segments):
            raise RequestError(
                f"{kind} {number} refers to segment {'null' if segment is None else segment}; the request "
                f"has {counted(len(request.segments), 'segment')}, counted from 0",
                code="bad_segment",
                details={kind: number},
            )
        if request.segments[segment]:
            texts.append(request.segments[segment])
    return Node(parent, tuple(texts))


def prompt_of(request: ScoreRequest, number: int) -> Node:
    """Prompt `number` in either form. Raises what `node_of` does."""
    prompt = request.prompts[number]
    if isinstance(prompt, str):
        return Node(None, (prompt,) if prompt else ())
    return node_of(request, "prompt", number, prompt)


def check_references(request: ScoreRequest) -> None:
    """Raises RequestError unless all references of prefixes and prompts exist."""
    for number, row in enumerate(request.prefixes):
        node_of(request, "prefix", number, row)
    for number in range(len(request.prompts)):
        prompt_of(request, number)


def empty_prompt(number: int) -> RequestError:
    """The error for a prompt without text."""
    return RequestError(f"prompt {number} is empty", code="empty_prompt", details={"prompt": number})


def given_texts(request: ScoreRequest) -> Iterator[str]:
    """The texts of a request, except its labels'."""
    yield from request.segments
    yield from (prompt for prompt in request.prompts if isinstance(prompt, str))


def checked_labels(labels: Sequence[Label]) -> list[list[str]]:
    """Each label's texts. Raises RequestError for a text that is empty or occurs twice."""
    checked = [label_texts(label) for label in labels]
    owner: dict[str, int] = {}
    for number, texts in enumerate(checked):
        for text in texts:
            if not text:
                raise RequestError(f"label {number} has an empty text", code="empty_label", details={"label": number})
            if text in owner:
                raise RequestError(
                    f"duplicate label text {text!r}, in label {owner[text]} and in label {number}",
                    code="duplicate_label",
                    details={"label": number},
                )
            owner[text] = number
    return checked
