"""From texts along a prefix tree to token ids: exactly those of each prompt's joined text, mostly without joining it.

Tokens are kept per text and put together where the boundary is *safe*: tokenizing the texts around it together gives
the tokens of both, and no word spans the boundary, so no token can whatever stands further away. What was found out
is remembered over requests. A prompt with an unsafe boundary is tokenized as one joined text, and counted.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from icm_client.errors import RequestError, TooLargeError
from icm_server.engines.base import Encoded, TextTokenizer
from icm_server.label_tokens import Sequences, label_behind, label_tries, token_behind
from icm_server.label_trie import LabelTrie
from icm_server.remembered import Remembered
from icm_server.request_tree import RequestTree
from icm_server.token_path import PathDigest, TokenPath

MAX_REMEMBERED = 200_000
"""Texts, and boundaries between texts, that are remembered."""

MIN_TAIL_CHARS = 32
"""How much text in front of a boundary is looked at when it is judged: more than any special token is long, since
one could be put together by several short texts of which no two neighbours show it."""

JOINED_CHARS_PER_TOKEN = 16
"""Characters of joined texts that a request may have tokenized as wholes, for each token that it may have."""

Tail = tuple[str, ...]
"""The last texts in front of a boundary, at least MIN_TAIL_CHARS if there are so many."""


class TokenizedPrompt(NamedTuple):
    """One prompt: its tokens (with the tokenizer's BOS), their digest, and the trie of the labels behind it.

    Prompts share the tokens of their prefix, and those with the same labels' tokens one trie object.
    """

    path: TokenPath
    digest: bytes
    trie: LabelTrie


class Tokenized(NamedTuple):
    """A request in tokens, its prompts in the order asked."""

    prompts: list[TokenizedPrompt]
    joined_texts: int
    """Joined texts that were tokenized as a whole, since a boundary in them was not safe."""


class _Tokens(NamedTuple):
    path: TokenPath
    digest: PathDigest

    def extended(self, own: array[int]) -> _Tokens:
        return _Tokens(TokenPath(self.path, own), PathDigest(own, self.digest)) if own else self


class _Path(NamedTuple):
    """All texts from the root, linked, and their tokens with BOS: None once a boundary was not safe."""

    before: _Path | None
    added: tuple[str, ...]
    tail: Tail
    num_chars: int
    tokens: _Tokens | None

    def text(self) -> str:
        parts: list[str] = []
        path: _Path | None = self
        while path is not None:
            parts.append("".join(path.added))
            path = path.before
        return "".join(reversed(parts))


def prompt_too_long(kind: str, number: int, num_tokens: int, limit: int) -> RequestError:
    """The error for a prefix or prompt that does not fit the model's window."""
    return RequestError(
        f"{kind} {number} has {num_tokens} tokens, more than the model's limit of {limit}: put less in front of it",
        code="prompt_too_long",
        details={kind: number, "tokens": num_tokens, "limit": limit},
    )


class PrefixTokenizer:
    """Tokenizes requests, and remembers texts and boundaries over all of them. One call at a time."""

    def __init__(
        self,
        tokenizer: TextTokenizer,
        *,
        max_prompt_tokens: int = 2**20,
        max_request_tokens: int = 2**24,
        max_remembered: int = MAX_REMEMBERED,
    ):
        self._tokenizer, self._max_prompt_tokens = tokenizer, max_prompt_tokens
        self._max_request_tokens = max_request_tokens
        self._ids: Remembered[str, list[int]] = Remembered(self._encode, max_remembered)
        self._safe: Remembered[tuple[Tail, str], bool] = Remembered(self._judge, max_remembered)

    def tokenize(self, tree: RequestTree, terminator: str | None) -> Tokenized:
        """Raises RequestError naming the prompt or the labels that are wrong, or TooLargeError."""
        root = self._root()
        paths = self._paths(tree, root)
        whole = self._encode_whole([path for path in paths if path.tokens is None], [""])
        found = [path.tokens or root.extended(array("i", whole[path.text()])) for path in paths]
        for number, tokens in enumerate(found):
            if tokens.path.length == root.path.length:
                raise RequestError(f"prompt {number} has no tokens", code="empty_prompt", details={"prompt": number})
        sequences, num_joined_labels = self._label_sequences(tree, paths, found)
        ends = self._terminator_ids(tree, paths[0], sequences[0], terminator) if terminator else None
        tries = label_tries(sequences, tree.labels, ends)
        prompts = [
            TokenizedPrompt(tokens.path, tokens.digest.value(), tries[labels])
            for tokens, labels in zip(found, sequences, strict=True)
        ]
        return Tokenized(prompts, len(whole) + num_joined_labels)

    def _paths(self, tree: RequestTree, root: _Tokens) -> list[_Path]:
        """The prompts' paths. All boundaries of the request are judged first, in one batch."""
        tails: list[Tail] = []
        boundaries: dict[tuple[Tail, str], None] = {}
        for node in [*tree.prefixes, *tree.prompts]:
            tail: Tail = tails[node.parent] if node.parent is not None else ()
            for text in node.added:
                if tail:
                    boundaries[tail, text] = None
                tail = _longer(tail, text)
            tails.append(tail)
        safe = self._safe.of(boundaries)
        ids = self._ids.of(text for node in [*tree.prefixes, *tree.prompts] for text in node.added)
        start = _Path(None, (), (), 0, root)
        paths: list[_Path] = []
        num_tokens = 0
        for node, tail in zip([*tree.prefixes, *tree.prompts], tails, strict=True):
            before = paths[node.parent] if node.parent is not None else start
            found = _appended(before, node.added, safe, ids)
            if found is not None and found.path.length > self._max_prompt_tokens:
                raise _too_long(len(paths), len(tree.prefixes), found.path.length, self._max_prompt_tokens)
            num_tokens += len(found.path.own) if found is not None and node.added else 0
            if num_tokens > self._max_request_tokens:
                raise TooLargeError(
                    f"the request's prefixes and prompts have more than the {self._max_request_tokens} tokens that "
                    "this scorer takes at once, each prefix counted once: send fewer prompts at once"
                )
            paths.append(_Path(before, node.added, tail, before.num_chars + sum(map(len, node.added)), found))
        return paths[len(tree.prefixes) :]

    def _label_sequences(
        self, tree: RequestTree, paths: list[_Path], found: list[_Tokens]
    ) -> tuple[list[Sequences], int]:
        """For every prompt the labels' tokens behind it, and how many joined texts that took."""
        texts = [text for label in tree.labels for text in label]
        tails = dict.fromkeys(path.tail for path in paths if path.tokens is not None)
        safe = self._safe.of((tail, text) for tail in tails for text in texts)
        safe_tails = {tail for tail in tails if all(safe[tail, text] for text in texts)}
        alone = self._ids.of(texts)
        plain = tuple(tuple(tuple(alone[text]) for text in label) for label in tree.labels)
        joined = {
            number: path for number, path in enumerate(paths) if path.tokens is None or path.tail not in safe_tails
        }
        whole = self._encode_whole(list(joined.values()), texts)
        skip = len(self._tokenizer.bos)

        def behind(number: int, path: _Path) -> Sequences:
            prompt, ids = path.text(), found[number].path.ids()[skip:].tolist()
            return tuple(
                tuple(label_behind(number, prompt, ids, text, whole[prompt + text]) for text in label)
                for label in tree.labels
            )

        sequences = [behind(number, path) if number in joined else plain for number, path in enumerate(paths)]
        return sequences, len(whole)

    def _terminator_ids(self, tree: RequestTree, path: _Path, sequences: Sequences, terminator: str) -> dict[str, int]:
        """For each label's text the token that follows it in a context; the label has to keep its own in front of it.

        Taken behind the first prompt, and in front of a text of the request that starts with the terminator if there
        is one: some tokenizers cut it differently at the end of a text.
        """
        following = next(
            (t for node in [*tree.prefixes, *tree.prompts] for t in node.added if t.startswith(terminator)), terminator
        )
        prompt = path.text() if path.tokens is None else "".join(path.tail)
        labels = [
            (text, tokens)
            for texts, found in zip(tree.labels, sequences, strict=True)
            for text, tokens in zip(texts, found, strict=True)
        ]
        whole = self._encode_distinct([prompt, *(prompt + text + following for text, _ in labels)])
        start = len(whole[prompt])
        return {
            text: token_behind(text, tokens, whole[prompt + text + following][start:], terminator)
            for text, tokens in labels
        }

    def _root(self) -> _Tokens:
        bos = array("i", self._tokenizer.bos)
        return _Tokens(TokenPath(None, bos), PathDigest(bos))

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        return [encoded.ids for encoded in self._tokenizer.encode_many(texts)]

    def _encode_whole(self, paths: list[_Path], endings: Sequence[str]) -> dict[str, list[int]]:
        """The tokens of the paths' joined texts with each of the endings."""
        limit = JOINED_CHARS_PER_TOKEN * self._max_request_tokens
        longest = max(map(len, endings))
        if sum(path.num_chars + longest for path in paths) * len(endings) > limit:
            raise TooLargeError(
                f"{len(paths)} prompts have to be tokenized as joined texts, of more than {limit} characters in all: "
                "send fewer prompts at once"
            )
        return self._encode_distinct(text + ending for text in (path.text() for path in paths) for ending in endings)

    def _encode_distinct(self, texts: Iterable[str]) -> dict[str, list[int]]:
        """Texts that are too long and too many to be remembered."""
        distinct = list(dict.fromkeys(texts))
        return dict(zip(distinct, self._encode(distinct), strict=True)) if distinct else {}

    def _judge(self, boundaries: Sequence[tuple[Tail, str]]) -> list[bool]:
        tails = ["".join(tail) for tail, _ in boundaries]
        texts = [text for _, text in boundaries]
        ids = self._ids.of([*tails, *texts])
        joined = self._tokenizer.encode_many([tail + text for tail, text in zip(tails, texts, strict=True)])
        return [_is_safe(ids[tail], ids[text], both) for tail, text, both in zip(tails, texts, joined, strict=True)]


def _is_safe(before: list[int], after: list[int], both: Encoded) -> bool:
    place = len(before)
    return 0 < place < len(both.ids) and both.ids == before + after and both.words[place - 1] != both.words[place]


def _too_long(place: int, num_prefixes: int, num_tokens: int, limit: int) -> RequestError:
    kind, number = ("prefix", place) if place < num_prefixes else ("prompt", place - num_prefixes)
    return prompt_too_long(kind, number, num_tokens, limit)


def _longer(tail: Tail, text: str) -> Tail:
    """The tail behind one more text, without what is no longer needed of it."""
    tail = (*tail, text)
    num_chars = sum(map(len, tail))
    while num_chars - len(tail[0]) >= MIN_TAIL_CHARS:
        num_chars -= len(tail[0])
        tail = tail[1:]
    return tail


def _appended(
    before: _Path, added: tuple[str, ...], safe: dict[tuple[Tail, str], bool], ids: dict[str, list[int]]
) -> _Tokens | None:
    if before.tokens is None:
        return None
    own, tail = array("i"), before.tail
    for text in added:
        if tail and not safe[tail, text]:
            return None
        own.extend(ids[text])
        tail = _longer(tail, text)
    return before.tokens.extended(own)
