"""From texts along a prefix tree to token ids: exactly those of each prompt's joined text, mostly without joining it.

Tokens are kept per text and put together where the boundary between two is safe (see `boundaries`). A prompt with an
unsafe boundary is tokenized as one joined text, and counted.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from icm_client.errors import RequestError, TooLargeError
from icm_server.boundaries import MAX_REMEMBERED_CHARS, Boundaries, Tail, TextTokens
from icm_server.engines.base import TextTokenizer, encoded
from icm_server.label_tokens import Sequences, label_behind, label_tries, token_behind
from icm_server.label_trie import LabelTrie
from icm_server.request_tree import Node, RequestTree
from icm_server.token_path import PathDigest, TokenPath

JOINED_CHARS_PER_TOKEN = 16
"""Characters of joined texts that a request may have tokenized as wholes, for each token that it may have."""


class TokenizedPrompt(NamedTuple):
    """One prompt: its tokens (with the tokenizer's BOS) and the trie of the labels behind it.

    Prompts share the tokens of their prefix, and those with the same labels' tokens one trie object.
    """

    path: TokenPath
    trie: LabelTrie


class Tokenized(NamedTuple):
    """A request in tokens, its prompts in the order asked."""

    prompts: list[TokenizedPrompt]
    digests: list[bytes]
    """Of every prompt's tokens."""
    joined_texts: int
    """Joined texts that were tokenized as a whole, since a boundary in them was not safe."""


class _Tokens(NamedTuple):
    path: TokenPath
    digest: PathDigest

    def extended(self, *texts: array[int]) -> _Tokens:
        return _Tokens(TokenPath(self.path, texts), PathDigest(texts, self.digest)) if any(texts) else self


class _Path(NamedTuple):
    """All texts from the root, linked, and their tokens with BOS: None once a boundary was not safe."""

    before: _Path | None
    added: tuple[str, ...]
    num_chars: int
    tail: Tail
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
        max_remembered_chars: int = MAX_REMEMBERED_CHARS,
    ):
        self._tokenizer, self._max_prompt_tokens = tokenizer, max_prompt_tokens
        self._max_request_tokens = max_request_tokens
        self._boundaries = Boundaries(tokenizer, max_remembered_chars)

    def tokenize(self, tree: RequestTree, terminator: str | None) -> Tokenized:
        """Raises RequestError naming the prompt or the labels that are wrong, or TooLargeError."""
        bos = array("i", self._tokenizer.bos)
        root = _Tokens(TokenPath(None, (bos,)), PathDigest((bos,)))
        paths = self._paths(tree, root)
        whole = self._encode_whole([path for path in paths if path.tokens is None], [""])
        found = [path.tokens or root.extended(whole[path.text()]) for path in paths]
        for number, tokens in enumerate(found):
            if tokens.path.length == root.path.length:
                raise RequestError(f"prompt {number} has no tokens", code="empty_prompt", details={"prompt": number})
        sequences, num_joined_labels = self._label_sequences(tree, paths, found)
        ends = self._terminator_ids(tree, paths[0], sequences[0], terminator) if terminator else None
        tries = label_tries(sequences, tree.labels, ends)
        prompts = [TokenizedPrompt(tokens.path, tries[labels]) for tokens, labels in zip(found, sequences, strict=True)]
        return Tokenized(prompts, [tokens.digest.value() for tokens in found], len(whole) + num_joined_labels)

    def _paths(self, tree: RequestTree, root: _Tokens) -> list[_Path]:
        """The prompts' paths."""
        texts = self._boundaries.tokens(text for node in [*tree.prefixes, *tree.prompts] for text in node.added)
        start = _Path(None, (), 0, Boundaries.start, root)
        paths: list[_Path] = []
        num_tokens = 0
        for place, node in enumerate([*tree.prefixes, *tree.prompts]):
            path = self._path(paths[node.parent] if node.parent is not None else start, node, texts)
            if path.tokens is not None and node.added:
                if path.tokens.path.length > self._max_prompt_tokens:
                    raise _too_long(place, len(tree.prefixes), path.tokens.path.length, self._max_prompt_tokens)
                num_tokens += sum(map(len, path.tokens.path.texts))
            if num_tokens > self._max_request_tokens:
                raise TooLargeError(
                    f"the request's prefixes and prompts have more than the {self._max_request_tokens} tokens that "
                    "this scorer takes at once, each prefix counted once: send fewer prompts at once"
                )
            paths.append(path)
        return paths[len(tree.prefixes) :]

    def _path(self, before: _Path, node: Node, texts: dict[str, TextTokens]) -> _Path:
        own: list[array[int]] = []
        tail, is_safe = before.tail, before.tokens is not None
        num_chars = before.num_chars
        for text in node.added:
            tokens = texts[text]
            is_safe = is_safe and self._boundaries.is_safe(tail, tokens)
            tail = self._boundaries.behind(tail, tokens)
            own.append(tokens.ids)
            num_chars += len(text)
        tokens_so_far = before.tokens.extended(*own) if before.tokens is not None and is_safe else None
        return _Path(before, node.added, num_chars, tail, tokens_so_far)

    def _label_sequences(
        self, tree: RequestTree, paths: list[_Path], found: list[_Tokens]
    ) -> tuple[list[Sequences], int]:
        """For every prompt the labels' tokens behind it, and how many joined texts that took."""
        texts = [text for label in tree.labels for text in label]
        alone = self._boundaries.tokens(texts)
        tails = dict.fromkeys(path.tail for path in paths if path.tokens is not None)
        safe_tails = {tail for tail in tails if all(self._boundaries.is_safe(tail, alone[text]) for text in texts)}
        plain = tuple(tuple(tuple(alone[text].ids) for text in label) for label in tree.labels)
        joined = {
            number: path for number, path in enumerate(paths) if path.tokens is None or path.tail not in safe_tails
        }
        whole = self._encode_whole(list(joined.values()), texts)
        skip = len(self._tokenizer.bos)

        def behind(number: int, path: _Path) -> Sequences:
            prompt, ids = path.text(), found[number].path.ids()[skip:]
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
        prompt = path.text() if path.tokens is None else "".join(path.tail.words)
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

    def _encode_whole(self, paths: list[_Path], endings: Sequence[str]) -> dict[str, array[int]]:
        """The tokens of the paths' joined texts with each of the endings."""
        limit = JOINED_CHARS_PER_TOKEN * self._max_request_tokens
        longest = max(map(len, endings))
        if sum(path.num_chars + longest for path in paths) * len(endings) > limit:
            raise TooLargeError(
                f"{len(paths)} prompts have to be tokenized as joined texts, of more than {limit} characters in all: "
                "send fewer prompts at once"
            )
        return self._encode_distinct(text + ending for text in (path.text() for path in paths) for ending in endings)

    def _encode_distinct(self, texts: Iterable[str]) -> dict[str, array[int]]:
        """Texts that are too long and too many to be remembered."""
        distinct = list(dict.fromkeys(texts))
        found = encoded(self._tokenizer, distinct)
        return {text: array("i", each.ids) for text, each in zip(distinct, found, strict=True)}


def _too_long(place: int, num_prefixes: int, num_tokens: int, limit: int) -> RequestError:
    kind, number = ("prefix", place) if place < num_prefixes else ("prompt", place - num_prefixes)
    return prompt_too_long(kind, number, num_tokens, limit)
