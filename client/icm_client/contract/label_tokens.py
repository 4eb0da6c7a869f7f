"""A label's tokens: those after the prompt's when both are tokenized together. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from icm_client.contract.errors import RequestError
from icm_client.contract.label_trie import TokenPath


def label_after(prompt: Sequence[int], joined: Sequence[int]) -> TokenPath | None:
    """tokens(prompt + label) after tokens(prompt); None if the prompt's tokens change, or none follow them."""
    if joined[: len(prompt)] != prompt or len(joined) == len(prompt):
        return None
    return tuple(joined[len(prompt) :])


def check_shown(label: str, tokens: TokenPath, shown: Sequence[int], following: str) -> None:
    """Raises RequestError unless `shown`, the label's tokens in a context in front of `following`, begins with
    `tokens`, which are scored at the end of a prompt."""
    if tuple(shown[: len(tokens)]) != tokens:
        raise RequestError(
            f"the tokens of the label {label!r} change in front of {following[:40]!r}, so contexts would not show what "
            "is scored: change the end of the label, or the beginning of the separator",
            code="label_merges",
            details={"label": label},
        )


def label_merges(number: int, prompt: str, label: str) -> RequestError:
    """The error for a label that changes its prompt's tokens."""
    return RequestError(
        f"the label {label!r} merges with the end of prompt {number} ({prompt[-40:]!r}): tokenized together they are "
        "not the prompt's tokens followed by the label's. End the prompt without a space and begin the label with one",
        code="label_merges",
        details={"prompt": number, "label": label},
    )
