"""The tokens of labels, and why some labels cannot be told apart. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from icm_client.contract.errors import RequestError, TooLargeError
from icm_client.contract.label_tokens import check_shown
from icm_client.contract.label_trie import LabelTrie, TokenPath, clashes
from icm_server.sharing.steps import Steps

MAX_LABEL_TOKENS = 4096
"""The most label tokens of a request, over all texts of all labels."""
MAX_ALL_LABEL_TOKENS = 2**18
"""The most label tokens over all distinct tokenizations of the labels."""

Sequences = tuple[tuple[TokenPath, ...], ...]
"""Each label's token sequences, one for each of its texts."""


def token_behind(label: str, tokens: TokenPath, shown: Sequence[int], terminator: str) -> int:
    """The token after the label's tokens in `shown`, the tokens of label and terminator in a context."""
    check_shown(label, tokens, shown, terminator)
    if len(shown) == len(tokens):
        raise RequestError(f"the terminator {terminator!r} has no tokens", code="empty_terminator")
    return shown[len(tokens)]


def label_tries(
    distinct: Collection[Sequences], labels: list[list[str]], ends: Mapping[str, int] | None
) -> Steps[dict[int, LabelTrie]]:
    """The label trie for each of the prompts' label sequences, by their id().

    If one label's tokens are the beginning of another's, all labels of the request are scored with the terminator's
    token after them (`ends`, by label text). Raises RequestError naming both labels if that is not possible or not
    enough.
    """
    for sequences in distinct:
        yield
        num_tokens = sum(len(tokens) for texts in sequences for tokens in texts)
        if num_tokens > MAX_LABEL_TOKENS:
            raise RequestError(
                f"the labels have {num_tokens} tokens in total; the limit is {MAX_LABEL_TOKENS}, since each can need a "
                "read of its own after every prompt. Use shorter or fewer texts",
                code="labels_too_long",
            )
        if num_tokens * len(distinct) > MAX_ALL_LABEL_TOKENS:
            raise TooLargeError(
                f"the labels have different tokens after each of {len(distinct)} prompts: send fewer prompts "
                f"per request"
            )
    are_ambiguous = False
    for sequences in distinct:
        yield
        are_ambiguous = bool(_ambiguous(sequences, labels)) or are_ambiguous
    tries = {}
    for sequences in distinct:
        yield
        ended = _ended(sequences, labels, ends) if are_ambiguous and ends is not None else sequences
        names = are_ambiguous and _ambiguous(ended, labels)
        if names:
            raise RequestError(
                f"the tokens of the label {names[0]!r} are the beginning of those of {names[1]!r}; "
                + (
                    "set `terminator` to the text that follows a label in contexts, to tell the two apart"
                    if ends is None
                    else "also with the terminator after both: use other labels"
                ),
                code="ambiguous_labels",
                details={"labels": list(names)},
            )
        tries[id(sequences)] = LabelTrie(ended)
    return tries


def _ended(sequences: Sequences, labels: list[list[str]], ends: Mapping[str, int]) -> Sequences:
    return tuple(
        tuple((*tokens, ends[text]) for text, tokens in zip(texts, found, strict=True))
        for texts, found in zip(labels, sequences, strict=True)
    )


def _ambiguous(sequences: Sequences, labels: list[list[str]]) -> tuple[str, str] | None:
    """Two label texts, the first of which has tokens that begin the second's, if there are any.

    Raises RequestError for two texts with the same tokens.
    """
    found = list(
        clashes(
            (tokens, text)
            for texts, sequence in zip(labels, sequences, strict=True)
            for text, tokens in zip(texts, sequence, strict=True)
        )
    )
    for clash in found:
        if clash.is_equal:
            raise RequestError(
                f"the labels {clash.text!r} and {clash.other!r} have the same tokens",
                code="duplicate_label",
                details={"labels": [clash.text, clash.other]},
            )
    return found[0][:2] if found else None
