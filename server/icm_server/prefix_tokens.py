"""From texts along a prefix tree to token ids: exactly those of each prompt's joined text, without joining it.

Tokens are kept per text and put together where the boundary is *safe*: tokenizing the two neighbours together gives
the tokens of both, and no word spans the boundary, so no token can, whatever stands around. What was found of a pair
of texts is remembered. A prompt with an unsafe boundary is tokenized as one joined text, and counted.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from cachetools import LRUCache

from icm_client.errors import RequestError
from icm_client.wire import ScoreRequest, label_texts
from icm_server.engines.base import Encoded, TextTokenizer
from icm_server.label_trie import LabelTrie, TokenPath

MAX_REMEMBERED = 500_000
"""Texts, and pairs of texts, that are remembered; the least recently used are forgotten first."""

Sequences = tuple[tuple[TokenPath, ...], ...]
"""Every label's token sequences, one for each alias."""


class TokenizedPrompt(NamedTuple):
    """One prompt: its ids (with the tokenizer's BOS), and the trie of the labels behind it."""

    ids: list[int]
    trie: LabelTrie


class Tokenized(NamedTuple):
    """A request in tokens, its prompts in the order asked."""

    prompts: list[TokenizedPrompt]
    joined_texts: int
    """Prompts that were tokenized as joined texts, since a boundary in them was not safe."""


class _Node(NamedTuple):
    """A prefix or prompt: what it continues, and the texts that it adds."""

    parent: int | None
    added: tuple[str, ...]


class _Path(NamedTuple):
    """All texts from the root, and their tokens, None once a boundary was not safe."""

    texts: tuple[str, ...]
    ids: list[int] | None


class PrefixTokenizer:
    """Tokenizes requests, and remembers texts and pairs over all of them. One call at a time."""

    def __init__(self, tokenizer: TextTokenizer, max_remembered: int = MAX_REMEMBERED):
        self._tokenizer = tokenizer
        self._texts: LRUCache[str, Encoded] = LRUCache(max_remembered)
        self._pairs: LRUCache[tuple[str, str], bool] = LRUCache(max_remembered)
        self._tries: LRUCache[Sequences, LabelTrie] = LRUCache(4096)

    def tokenize(self, request: ScoreRequest) -> Tokenized:
        """Raises RequestError naming the prefix, prompt or label that is wrong."""
        labels = _labels(request)
        prefixes, prompts = _tree(request)
        self._learn(prefixes, prompts, labels, request.terminator)
        paths: list[_Path] = []
        for node in prefixes:
            paths.append(self._path(paths, node))
        tokenized: list[TokenizedPrompt] = []
        joined_texts = 0
        for number, node in enumerate(prompts):
            path = self._path(paths, node)
            if not path.texts:
                raise RequestError(f"prompt {number} is empty", code="empty_prompt", details={"prompt": number})
            if path.ids is None:
                joined_texts += 1
            ids = path.ids if path.ids is not None else self._joined(path.texts)
            trie = self._trie(number, path, ids, labels, request.terminator)
            tokenized.append(TokenizedPrompt(self._tokenizer.bos + ids, trie))
        return Tokenized(tokenized, joined_texts)

    def _learn(
        self, prefixes: list[_Node], prompts: list[_Node], labels: list[list[str]], terminator: str | None
    ) -> None:
        """Tokenizes what the request will need in two calls of the tokenizer, which is fast only in batches."""
        flat = [text for texts in labels for text in texts]
        last: list[str | None] = []
        pairs: dict[tuple[str, str], None] = {}
        ends: dict[str, None] = {}
        for place, (parent, added) in enumerate([*prefixes, *prompts]):
            before = last[parent] if parent is not None else None
            for text in added:
                if before is not None:
                    pairs[before, text] = None
                before = text
            if place < len(prefixes):
                last.append(before)
            elif before is not None:
                ends[before] = None
        pairs.update(dict.fromkeys((end, label) for end in ends for label in flat))
        if terminator:
            pairs.update(dict.fromkeys((label, terminator) for label in flat))
        self._encode(text for pair in pairs for text in pair)
        self._judge(pairs)

    def _encode(self, texts: Iterable[str]) -> None:
        unknown = list(dict.fromkeys(text for text in texts if text not in self._texts))
        if unknown:
            self._texts.update(zip(unknown, self._tokenizer.encode_many(unknown), strict=True))

    def _judge(self, pairs: Iterable[tuple[str, str]]) -> None:
        unknown = [pair for pair in pairs if pair not in self._pairs]
        if not unknown:
            return
        for (a, b), joined in zip(unknown, self._tokenizer.encode_many([a + b for a, b in unknown]), strict=True):
            first, second = self._encoded(a).ids, self._encoded(b).ids
            place = len(first)
            self._pairs[a, b] = (
                0 < place < len(joined.ids)
                and joined.ids == first + second
                and joined.words[place - 1] != joined.words[place]
            )

    def _encoded(self, text: str) -> Encoded:
        found = self._texts.get(text)
        if found is None:  # forgotten meanwhile, or first met alone
            found = self._texts[text] = self._tokenizer.encode_many([text])[0]
        return found

    def _safe(self, a: str, b: str) -> bool:
        found = self._pairs.get((a, b))
        if found is None:
            self._judge([(a, b)])
            found = self._pairs[a, b]
        return found

    def _joined(self, texts: Sequence[str]) -> list[int]:
        return self._tokenizer.encode_many(["".join(texts)])[0].ids

    def _path(self, paths: list[_Path], node: _Node) -> _Path:
        start = paths[node.parent] if node.parent is not None else _Path((), [])
        if not node.added:
            return start
        ids = None if start.ids is None else list(start.ids)
        before = start.texts[-1] if start.texts else None
        for text in node.added:
            if ids is not None:
                if before is None or self._safe(before, text):
                    ids.extend(self._encoded(text).ids)
                else:
                    ids = None
            before = text
        return _Path(start.texts + node.added, ids)

    def _trie(
        self, number: int, path: _Path, ids: list[int], labels: list[list[str]], terminator: str | None
    ) -> LabelTrie:
        found = tuple(tuple(self._label_ids(number, path, ids, text, terminator) for text in texts) for texts in labels)
        trie = self._tries.get(found)
        if trie is None:
            sequences = _unambiguous(found, labels, self._terminator_id(path, labels, terminator))
            trie = self._tries[found] = LabelTrie(sequences)
        return trie

    def _label_ids(self, number: int, path: _Path, ids: list[int], label: str, terminator: str | None) -> TokenPath:
        """tokens(prompt + label) after tokens(prompt), which have to stay as they are."""
        if path.ids is not None and self._safe(path.texts[-1], label):
            found = self._encoded(label).ids
        else:
            joined = self._joined((*path.texts, label))
            if joined[: len(ids)] != ids or len(joined) == len(ids):
                raise RequestError(
                    f"the label {label!r} merges with the end of prompt {number} ({path.texts[-1][-40:]!r}): their "
                    "tokens together are not the prompt's and then the label's. End the prompt without a space and "
                    "begin the label with one",
                    code="label_merges",
                    details={"prompt": number, "label": label},
                )
            found = joined[len(ids) :]
        if terminator and not self._safe(label, terminator):
            before = self._joined((*path.texts, label, terminator))
            if before[len(ids) : len(ids) + len(found)] != found:
                raise RequestError(
                    f"the label {label!r} has other tokens in front of the separator {terminator!r} than at the end of "
                    "a prompt, so what contexts show is not what is scored",
                    code="label_merges",
                    details={"label": label},
                )
        return tuple(found)

    def _terminator_id(self, path: _Path, labels: list[list[str]], terminator: str | None) -> int | None:
        if not terminator:
            return None
        before = (*path.texts, labels[0][0])
        return self._joined((*before, terminator))[len(self._joined(before)) :][0]


def _labels(request: ScoreRequest) -> list[list[str]]:
    labels = [label_texts(label) for label in request.labels]
    seen: set[str] = set()
    for number, texts in enumerate(labels):
        for text in texts:
            if not text:
                raise RequestError(f"label {number} has an empty text", code="empty_label", details={"label": number})
            if text in seen:
                raise RequestError(f"the label {text!r} stands there twice", code="duplicate_label")
            seen.add(text)
    return labels


def _tree(request: ScoreRequest) -> tuple[list[_Node], list[_Node]]:
    """Prefixes and prompts with their texts looked up; empty texts are dropped."""

    def node(kind: str, number: int, parent: int | None, segments: Sequence[int | None], num_before: int) -> _Node:
        if parent is not None and not 0 <= parent < num_before:
            what = "refers forward to" if kind == "prefix" and parent >= num_before else "names the unknown"
            raise RequestError(f"{kind} {number} {what} prefix {parent}", code="bad_prefix", details={kind: number})
        texts = []
        for segment in segments:
            if segment is None or not 0 <= segment < len(request.segments):
                raise RequestError(
                    f"{kind} {number} names segment {'null' if segment is None else segment}, "
                    f"but there are {len(request.segments)}",
                    code="bad_segment",
                    details={kind: number},
                )
            if request.segments[segment]:
                texts.append(request.segments[segment])
        return _Node(parent, tuple(texts))

    prefixes = [node("prefix", k, row[0], row[1:], k) for k, row in enumerate(request.prefixes)]
    prompts = [
        _Node(None, (row,) if row else ())
        if isinstance(row, str)
        else node("prompt", k, row[0], row[1:], len(prefixes))
        for k, row in enumerate(request.prompts)
    ]
    return prefixes, prompts


def _unambiguous(sequences: Sequences, labels: list[list[str]], terminator_id: int | None) -> Sequences:
    """The sequences, all ended by the terminator's token if one of them begins another."""
    owners = sorted(
        (sequence, text)
        for found, texts in zip(sequences, labels, strict=True)
        for sequence, text in zip(found, texts, strict=True)
    )
    for (first, text), (second, other) in itertools.pairwise(owners):
        if first == second:
            raise RequestError(f"the labels {text!r} and {other!r} have the same tokens", code="duplicate_label")
        if second[: len(first)] == first:
            if terminator_id is None:
                raise RequestError(
                    f"the tokens of the label {text!r} begin those of {other!r}; name the text that follows a label "
                    "as `terminator`, so that the two can be told apart",
                    code="ambiguous_labels",
                )
            return tuple(tuple((*sequence, terminator_id) for sequence in found) for found in sequences)
    return sequences
