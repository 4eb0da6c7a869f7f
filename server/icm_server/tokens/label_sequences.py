"""The labels' tokens after each prompt, and the tokens of prompts that have to be tokenized as joined texts.

A label's tokens depend only on a prompt's last words, so they are computed once for all prompts with the same ending.
If earlier words matter too (a special token may begin there), or if a prompt has an unsafe boundary, its whole text is
tokenized with each label. These texts are created one by one, never all at once.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from icm_client.contract.errors import RequestError
from icm_client.contract.label_tokens import label_after, label_merges
from icm_client.contract.label_trie import TokenPath
from icm_client.contract.prefix_tree import Node
from icm_server.engines.base import TextTokenizer, encoded
from icm_server.sharing.steps import STEP_ITEMS, Steps
from icm_server.tokens.boundaries import Boundaries, Tail, TextTokens
from icm_server.tokens.joined_chars import JoinedChars
from icm_server.tokens.label_tokens import Sequences
from icm_server.tokens.request_tree import RequestTree
from icm_server.tokens.text_paths import Size, TextPath, Tokens, begins_with_bos
from icm_server.tokens.window import prompt_too_long


class LabelledPrompts(NamedTuple):
    """Each prompt's tokens, and its labels' tokens: one shared object for all prompts with equal label tokens."""

    tokens: list[Tokens]
    sequences: list[Sequences]
    num_joined: int
    """The number of texts that were tokenized as joined texts."""


class LabelSequences:
    """Computes them for one request."""

    def __init__(
        self,
        tokenizer: TextTokenizer,
        boundaries: Boundaries,
        tree: RequestTree,
        joined: JoinedChars,
        size: Size,
        max_prompt_tokens: int,
    ):
        self._tokenizer, self._boundaries, self._tree = tokenizer, boundaries, tree
        self._joined, self._size, self._max_prompt_tokens = joined, size, max_prompt_tokens
        self._texts = [text for label in tree.labels for text in label]
        self._num_label_chars = sum(map(len, self._texts))
        self._num_joined = 0
        self._same: dict[Sequences, Sequences] = {}

    def of(self, paths: list[TextPath], root: Tokens) -> Steps[LabelledPrompts]:
        """Raises RequestError naming the wrong prompt or label, or TooLargeError."""
        by_tail = yield from self._by_tail(paths)
        joined = {
            number: path for number, path in enumerate(paths) if path.tokens is None or by_tail.get(path.tail) is None
        }
        whole = yield from self._whole(joined, root)
        tokens: list[Tokens] = []
        sequences: list[Sequences] = []
        for number, path in enumerate(paths):
            found = by_tail.get(path.tail) if path.tokens is not None else None
            if path.tokens is not None and found is not None:
                tokens.append(path.tokens)
                sequences.append(found)
            else:
                its_tokens, its_sequences = whole[self._tree.prompts[number]]
                tokens.append(its_tokens)
                sequences.append(its_sequences)
            if not number % STEP_ITEMS:
                yield
        return LabelledPrompts(tokens, sequences, self._num_joined)

    def _by_tail(self, paths: list[TextPath]) -> Steps[dict[Tail, Sequences | None]]:
        """The labels' tokens by the prompts' last words; None where earlier words matter."""
        alone: dict[str, TextTokens] = {}
        for start in range(0, len(self._texts), STEP_ITEMS):
            alone |= self._boundaries.tokens(self._texts[start : start + STEP_ITEMS])
            yield
        plain = self._shared([alone[text].ids for text in self._texts])
        found: dict[Tail, Sequences | None] = {}
        for number, path in enumerate(paths):
            if not number % STEP_ITEMS:
                yield
            if path.tokens is None:
                continue
            if path.tokens.is_root:
                raise no_tokens(number)
            if path.tail in found:
                continue
            is_safe = True
            for text in self._texts:
                yield
                is_safe = self._boundaries.is_safe(path.tail, alone[text], self._joined)
                if not is_safe:
                    break
            if is_safe:
                found[path.tail] = plain
            elif path.tail.has_special:
                found[path.tail] = None
            else:
                tail = path.tail.text()
                self._count(len(tail))
                stream = self._encoded([tail])
                found[path.tail] = yield from self._behind(number, path, next(stream), stream)
        return found

    def _whole(self, joined: Mapping[int, TextPath], root: Tokens) -> Steps[dict[Node, tuple[Tokens, Sequences]]]:
        """The tokens of prompts that have to be tokenized as a whole, each once."""
        distinct: dict[Node, tuple[int, TextPath]] = {}
        for number, path in joined.items():
            distinct.setdefault(self._tree.prompts[number], (number, path))
        for _, path in distinct.values():
            self._count(path.num_chars)
        stream = self._encoded(path.text() for _, path in distinct.values())
        found: dict[Node, tuple[Tokens, Sequences]] = {}
        for node, (number, path) in distinct.items():
            ids = next(stream)
            yield
            length = root.path.length + len(ids)
            if not ids:
                raise no_tokens(number)
            if root.begins_with_bos(ids):
                raise begins_with_bos("prompt", number)
            if length > self._max_prompt_tokens:
                raise prompt_too_long("prompt", number, length, self._max_prompt_tokens)
            if path.tokens is None:
                self._size.add(len(ids))
            sequences = yield from self._behind(number, path, ids, stream)
            found[node] = path.tokens or root.extended(ids), sequences
        return found

    def _behind(self, number: int, path: TextPath, ids: array[int], stream: Iterator[array[int]]) -> Steps[Sequences]:
        """The labels' tokens after a text, from the next items of `stream`: the tokens of the text joined with each
        label."""
        behind: list[TokenPath] = []
        for text in self._texts:
            tokens = label_after(ids, next(stream))
            if tokens is None:
                raise label_merges(number, path.text(), text)
            behind.append(tokens)
            yield
        return self._shared(behind)

    def _shared(self, tokens: Iterable[Sequence[int]]) -> Sequences:
        """Each label's sequences, from the tokens of all label texts."""
        left = iter(tokens)
        sequences = tuple(tuple(tuple(next(left)) for _ in texts) for texts in self._tree.labels)
        return self._same.setdefault(sequences, sequences)

    def _encoded(self, texts: Iterable[str]) -> Iterator[array[int]]:
        """The tokens of each text, and then of the text joined with each label, computed lazily."""
        with_labels = (text + ending for text in texts for ending in ("", *self._texts))
        return (array("i", found.ids) for found in encoded(self._tokenizer, with_labels))

    def _count(self, num_chars: int) -> None:
        """Counts a text of this many characters, alone and with each label."""
        num_texts = 1 + len(self._texts)
        self._joined.add(num_chars * num_texts + self._num_label_chars, num_texts)
        self._num_joined += num_texts


def no_tokens(number: int) -> RequestError:
    """The error for a prompt whose characters the tokenizer drops."""
    return RequestError(f"prompt {number} has no tokens", code="empty_prompt", details={"prompt": number})
