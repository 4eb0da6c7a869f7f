"""A request's prompts as the texts that they join to. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from icm_client.contract.batches import check_numbers
from icm_client.contract.errors import RequestError
from icm_client.contract.wire import Label, ScoreRequest, label_texts


class JoinedPrompt(NamedTuple):
    """A prompt's whole text, its last piece (all of it, for a prompt in one piece), and its number in the request."""

    text: str
    last: str
    number: int


def joined_prompts(request: ScoreRequest) -> list[JoinedPrompt]:
    """In the order asked. Raises RequestError where a number refers to nothing, and for an empty prompt."""
    check_numbers(request)
    prefixes: list[str] = []
    for parent, *segments in request.prefixes:
        prefixes.append((prefixes[parent] if parent is not None else "") + _text(request, segments))
    prompts = []
    for number, prompt in enumerate(request.prompts):
        if isinstance(prompt, str):
            joined = JoinedPrompt(prompt, prompt, number)
        else:
            last = _text(request, prompt[1:])
            before = prefixes[prompt[0]] if prompt[0] is not None else ""
            joined = JoinedPrompt(before + last, last, number)
        if not joined.text:
            raise RequestError(f"prompt {number} is empty", code="empty_prompt", details={"prompt": number})
        prompts.append(joined)
    return prompts


def used_texts(request: ScoreRequest) -> Iterator[str]:
    """Every text that stands in a prefix or a prompt, in that order."""
    for row in [*request.prefixes, *request.prompts]:
        if isinstance(row, str):
            yield row
        else:
            yield from (request.segments[number] for number in row[1:] if number is not None)


def checked_labels(labels: Sequence[Label]) -> list[list[str]]:
    """Every label's texts. Raises RequestError for a text that is empty or stands there twice."""
    texts = [text for label in labels for text in label_texts(label)]
    for place, text in enumerate(texts):
        if not text or text in texts[:place]:
            what = f"the label text {text!r} stands there twice" if text else "a label has an empty text"
            raise RequestError(what, code="duplicate_label" if text else "empty_label")
    return [label_texts(label) for label in labels]


def _text(request: ScoreRequest, segments: Sequence[int | None]) -> str:
    return "".join(request.segments[number] for number in segments if number is not None)
