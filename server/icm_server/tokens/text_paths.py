"""A request's prefixes and prompts as paths of texts, with tokens as far as all boundaries are safe."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from functools import partial
from itertools import chain
from typing import NamedTuple

from icm_client.contract.batches import batches
from icm_client.contract.errors import RequestError, TooLargeError
from icm_client.contract.prefix_tree import Node
from icm_server.engines.base import BATCH_CHARS
from icm_server.sharing.steps import STEP_ITEMS, Steps
from icm_server.tokens.boundaries import Boundaries, Tail, TextTokens
from icm_server.tokens.joined_chars import JoinedChars
from icm_server.tokens.request_tree import RequestTree
from icm_server.tokens.token_path import PathDigest, TokenPath
from icm_server.tokens.window import Window, prompt_too_long

STEP_TEXTS = 500
"""The most texts tokenized between two yields."""


class Tokens(NamedTuple):
    """The tokens of all texts from the root to a node, and the BOS tokens in front of them."""

    path: TokenPath
    digest: PathDigest
    bos: array[int]

    @staticmethod
    def root(bos: Sequence[int]) -> Tokens:
        start = array("i", bos)
        return Tokens(TokenPath(None, (start,)), PathDigest((start,)), start)

    @property
    def is_root(self) -> bool:
        """Whether there are no text tokens."""
        return self.path.length == len(self.bos)

    def extended(self, *texts: array[int]) -> Tokens:
        if not any(texts):
            return self
        return Tokens(TokenPath(self.path, texts), PathDigest(texts, self.digest), self.bos)

    def begins_with_bos(self, *texts: array[int]) -> bool:
        """Whether these texts' tokens, appended here, would begin with a second BOS."""
        return self.is_root and len(self.bos) > 0 and next((text[0] for text in texts if text), None) == self.bos[0]


class TextPath(NamedTuple):
    """All texts from the root, as a linked list, and their tokens with BOS; None after an unsafe boundary.

    Each prefix or prompt adds its texts to its parent's path.
    """

    before: TextPath | None
    added: tuple[str, ...]
    num_chars: int
    tail: Tail
    """If there are tokens: the tail of the texts."""
    tokens: Tokens | None

    def text(self) -> str:
        parts: list[str] = []
        path: TextPath | None = self
        while path is not None:
            parts.append("".join(path.added))
            path = path.before
        return "".join(reversed(parts))


class Size:
    """Counts a request's tokens; a shared prefix counts once."""

    def __init__(self, limit: int):
        self._limit, self._num = limit, 0

    def add(self, num_tokens: int) -> None:
        """Raises TooLargeError if the request exceeds its limit."""
        self._num += num_tokens
        if self._num > self._limit:
            raise TooLargeError(
                f"the request has more than {self._limit} tokens, each prefix counted once: "
                "send fewer prompts per request"
            )


def begins_with_bos(kind: str, number: int) -> RequestError:
    """The error for a text that would give a prompt a second BOS."""
    return RequestError(
        f"{kind} {number} begins with the beginning-of-text token, which the tokenizer adds to every prompt itself: "
        "leave it out",
        code="begins_with_bos",
        details={kind: number},
    )


class TextPaths:
    """Builds the paths. One step at a time."""

    def __init__(self, boundaries: Boundaries, window: Window, max_prompt_tokens: int):
        self._boundaries, self._window, self._max_tokens = boundaries, window, max_prompt_tokens

    def of(self, tree: RequestTree, root: Tokens, size: Size, joined: JoinedChars) -> Steps[list[TextPath]]:
        """The prompts' paths, starting with the tokens of `root`.

        Raises RequestError for a prefix or prompt that is too long, TooLargeError for a request that is too large.
        """
        texts = yield from self._tokens(tree)
        start = TextPath(None, (), 0, Boundaries.start, root)
        paths: list[TextPath] = []
        num_done = 0
        for place, node in enumerate(chain(tree.prefixes, tree.prompts)):
            before = paths[node.parent] if node.parent is not None else start
            if not node.added:
                paths.append(before)
                continue
            path = yield from self._path(tree, place, node, before, texts, joined)
            if path.tokens is not None and before.tokens is not None:
                size.add(path.tokens.path.length - before.tokens.path.length)
            paths.append(path)
            num_done += 1
            if not num_done % STEP_ITEMS:
                yield
        return paths[len(tree.prefixes) :]

    def _tokens(self, tree: RequestTree) -> Steps[dict[str, TextTokens]]:
        """Tokenizes each text of the tree by itself."""
        distinct: dict[str, None] = {}
        for place, node in enumerate(chain(tree.prefixes, tree.prompts)):
            for text in node.added:
                distinct[text] = None
            if not place % STEP_ITEMS or len(node.added) > STEP_ITEMS:
                yield
        texts: dict[str, TextTokens] = {}
        for batch in batches(distinct, BATCH_CHARS):
            for start in range(0, len(batch), STEP_TEXTS):
                some = batch[start : start + STEP_TEXTS]
                for text in some:
                    yield from self._window.check(text, partial(_name_of, tree))
                texts |= self._boundaries.tokens(some)
                yield
        return texts

    def _path(
        self,
        tree: RequestTree,
        place: int,
        node: Node,
        before: TextPath,
        texts: dict[str, TextTokens],
        joined: JoinedChars,
    ) -> Steps[TextPath]:
        own: list[array[int]] = []
        tail, num_chars, known = before.tail, before.num_chars, before.tokens
        room = self._max_tokens - (known.path.length if known is not None else 0)
        for number, text in enumerate(node.added, start=1):
            num_chars += len(text)
            if num_chars > self._window.max_chars:
                raise self._window.too_many_chars(*_name(tree, place))
            tokens = texts[text]
            if known is not None and self._boundaries.is_safe(tail, tokens, joined):
                tail = self._boundaries.tail_after(tail, tokens)
                own.append(tokens.ids)
                room -= len(tokens.ids)
                if room < 0:
                    raise prompt_too_long(*_name(tree, place), self._max_tokens - room, self._max_tokens)
            else:
                known = None
            if not number % STEP_ITEMS:
                yield
        if known is not None and known.begins_with_bos(*own):
            raise begins_with_bos(*_name(tree, place))
        return TextPath(before, node.added, num_chars, tail, known.extended(*own) if known else None)


def _name(tree: RequestTree, place: int) -> tuple[str, int]:
    num_prefixes = len(tree.prefixes)
    return ("prefix", place) if place < num_prefixes else ("prompt", place - num_prefixes)


def _name_of(tree: RequestTree, text: str) -> tuple[str, int]:
    """The first node that adds the text."""
    nodes = enumerate(chain(tree.prefixes, tree.prompts))
    return _name(tree, next(place for place, node in nodes if text in node.added))
