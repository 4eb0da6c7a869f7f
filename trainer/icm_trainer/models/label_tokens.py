"""The tokens of a text and of the labels behind it: the very ones that a scorer reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from icm_annealer.data.task import Task
from icm_client.contract.errors import RequestError
from icm_client.contract.label_tokens import label_after, label_merges
from icm_client.contract.label_trie import TokenPath, clashes
from icm_client.contract.wire import label_texts
from icm_server.engines.base import TextTokenizer, encoded

LabelPaths = tuple[tuple[TokenPath, ...], ...]
"""Each label's token sequences: one for each of its texts, the verbalizer first."""


class Prompt(NamedTuple):
    """A text as tokens, and the tokens of the labels behind it."""

    ids: tuple[int, ...]
    """With the tokenizer's beginning-of-text token, if it puts one in front."""
    labels: LabelPaths

    @property
    def longest_label(self) -> int:
        return max(len(path) for paths in self.labels for path in paths)

    @property
    def num_tokens(self) -> int:
        """With the longest label."""
        return len(self.ids) + self.longest_label


def prompts_of(texts: Sequence[str], task: Task, tokenizer: TextTokenizer) -> list[Prompt]:
    """A prompt for each text. Raises RequestError, as a scorer does, if a label's tokens merge with a text's end, if
    one label's begin another's, or for a text with a special token that the tokenizer cannot take as plain text."""
    used = tokenizer.with_special_tokens() if task.special_tokens else tokenizer
    labels = [label_texts(texts_of) for texts_of in task.labels.values()]
    endings = [text for label in labels for text in label]
    stream = (found.ids for found in encoded(used, (text + end for text in texts for end in ("", *endings))))
    prompts: list[Prompt] = []
    same: dict[LabelPaths, LabelPaths] = {}
    for number, text in enumerate(texts):
        ids = next(stream)
        if not ids:
            raise RequestError(f"text {number} has no tokens: {text[:40]!r}", code="empty_prompt")
        behind = {ending: label_after(ids, next(stream)) for ending in endings}
        for ending, tokens in behind.items():
            if tokens is None:
                raise label_merges(number, text, ending)
        paths = tuple(tuple(tokens for text in label if (tokens := behind[text]) is not None) for label in labels)
        if paths not in same:
            _check_distinct(behind)
        prompts.append(Prompt((*tokenizer.bos, *ids), same.setdefault(paths, paths)))
    return prompts


def cut_to(prompt: Prompt, max_tokens: int, bos: Sequence[int]) -> Prompt:
    """The prompt without the first tokens of its text, as far as necessary for it to fit with any label. Its end, which
    the labels follow, stays, and so does `bos`."""
    excess = prompt.num_tokens - max_tokens
    return prompt if excess <= 0 else prompt._replace(ids=(*bos, *prompt.ids[len(bos) + excess :]))


def _check_distinct(behind: dict[str, TokenPath | None]) -> None:
    for clash in clashes((tokens, text) for text, tokens in behind.items() if tokens is not None):
        raise RequestError(
            f"the tokens of the label {clash.text!r} are the beginning of those of {clash.other!r}, so a classifier "
            "could not tell them apart: use other label texts",
            code="ambiguous_labels",
        )
