"""From texts in a prefix tree to token ids: exactly those of each prompt's joined text, usually without joining it.

Texts are tokenized once, and their tokens are concatenated where the boundary is safe (see `boundaries`). A prompt with
an unsafe boundary is tokenized as one joined text, and counted.
"""

from __future__ import annotations

from typing import NamedTuple

from icm_client.contract.label_trie import LabelTrie
from icm_server.engines.base import TextTokenizer, encoded
from icm_server.sharing.steps import Steps
from icm_server.tokens.boundaries import MAX_REMEMBERED_CHARS, Boundaries
from icm_server.tokens.joined_chars import MAX_JOINED_CHARS, JoinedChars
from icm_server.tokens.label_sequences import LabelSequences
from icm_server.tokens.label_tokens import Sequences, label_tries, token_behind
from icm_server.tokens.request_tree import RequestTree
from icm_server.tokens.text_paths import Size, TextPath, TextPaths, Tokens
from icm_server.tokens.token_path import TokenPath
from icm_server.tokens.window import Window


class TokenizedPrompt(NamedTuple):
    """One prompt: its tokens (with the tokenizer's BOS) and the trie of its labels.

    Prompts share the tokens of their prefix. Those with equal label tokens share one trie object.
    """

    path: TokenPath
    trie: LabelTrie


class Tokenized(NamedTuple):
    """A tokenized request; prompts in the order of the request."""

    prompts: list[TokenizedPrompt]
    digests: list[bytes]
    """The total number of tokens of all prompts."""
    joined_texts: int
    """Joined texts that were tokenized as a whole because of an unsafe boundary."""


class PrefixTokenizer:
    """Tokenizes requests; caches texts and boundaries across requests. Only one step runs at a time."""

    def __init__(
        self,
        tokenizer: TextTokenizer,
        *,
        max_prompt_tokens: int = 2**20,
        max_request_tokens: int = 2**24,
        max_joined_chars: int = MAX_JOINED_CHARS,
        max_remembered_chars: int = MAX_REMEMBERED_CHARS,
    ):
        self._tokenizer, self._max_prompt_tokens = tokenizer, max_prompt_tokens
        self._max_request_tokens, self._max_joined_chars = max_request_tokens, max_joined_chars
        self._boundaries = Boundaries(tokenizer, max_remembered_chars)
        self._paths = TextPaths(self._boundaries, Window(tokenizer, max_prompt_tokens), max_prompt_tokens)

    def tokenize(self, tree: RequestTree, terminator: str | None) -> Steps[Tokenized]:
        """Raises RequestError naming the wrong prompt or labels, or TooLargeError."""
        joined, size = JoinedChars(self._max_joined_chars), Size(self._max_request_tokens)
        root = Tokens.root(self._tokenizer.bos)
        paths = yield from self._paths.of(tree, root, size, joined)
        labelled = LabelSequences(self._tokenizer, self._boundaries, tree, joined, size, self._max_prompt_tokens)
        tokens, sequences, num_joined = yield from labelled.of(paths, root)
        ends = None
        if terminator:
            ends = yield from self._terminator_ids(tree, paths[0], sequences[0], terminator, joined)
        distinct = {id(each): each for each in sequences}
        tries = yield from label_tries(distinct.values(), tree.labels, ends)
        prompts = [TokenizedPrompt(of.path, tries[id(labels)]) for of, labels in zip(tokens, sequences, strict=True)]
        return Tokenized(prompts, [of.digest.value() for of in tokens], num_joined)

    def _terminator_ids(
        self, tree: RequestTree, path: TextPath, sequences: Sequences, terminator: str, joined: JoinedChars
    ) -> Steps[dict[str, int]]:
        """For each label text, the token that follows it in a context. The label has to keep its tokens in front of it.

        It is read after the first prompt, and before a text of the request that starts with the terminator if there is
        one: some tokenizers split the terminator differently at the end of a text.
        """
        following = next(
            (t for node in [*tree.prefixes, *tree.prompts] for t in node.added if t.startswith(terminator)), terminator
        )
        following = self._boundaries.tokens([following])[following].long_head
        prompt = path.text() if path.tokens is None else path.tail.text()
        labels = [
            (text, tokens)
            for texts, found in zip(tree.labels, sequences, strict=True)
            for text, tokens in zip(texts, found, strict=True)
        ]
        num_chars = sum(len(prompt) + len(text) + len(following) for text, _ in labels)
        joined.add(len(prompt) + num_chars, 1 + len(labels))
        stream = encoded(self._tokenizer, (prompt + text for text in ("", *(text + following for text, _ in labels))))
        start, ends = len(next(stream).ids), {}
        for (text, tokens), shown in zip(labels, stream, strict=True):
            ends[text] = token_behind(text, tokens, shown.ids[start:], terminator)
            yield
        return ends
