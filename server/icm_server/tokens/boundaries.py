"""Where texts meet: whether their tokens together are the tokens of each. What was found out is remembered.

A boundary is *safe* if tokenizing what stands around it gives the tokens of both sides, and no word spans it. A word
is what a tokenizer cuts off, from left to right, before it merges anything, so a text that starts at a safe boundary
is cut as if it stood alone, and only the words next to a boundary decide about it. Special tokens are found before
words are cut; one that spans a boundary begins in the characters in front of it, so these are looked at as well.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from icm_server.engines.base import BATCH_CHARS, Encoded, TextTokenizer, encoded
from icm_server.tokens.batch_lru import BatchLru
from icm_server.tokens.joined_chars import ENTRY_CHARS, JoinedChars

MAX_REMEMBERED_CHARS = 2**24
"""Characters of texts, and of what stands at boundaries, that are remembered."""
NEAR_WORDS = 3
"""How many words on each side of a boundary are looked at, at least."""
NEAR_CHARS = 32
"""How far from a boundary a special token that spans it may begin or end, where it is not known how long they are."""


class Tail(NamedTuple):
    """The last words in front of a boundary: all that matters of what stands there."""

    words: tuple[str, ...]
    has_special: bool
    """A special token could begin in them, and span the boundary."""

    def text(self) -> str:
        return "".join(self.words)


class TextTokens(NamedTuple):
    """A text on its own: its tokens, its first words, and its last ones."""

    ids: array[int]
    head: str
    long_head: str
    """Long enough for the rest of a special token that begins in front of the text."""
    tail: Tail
    is_long: bool
    """Nothing in front of it matters behind it, unless a special token could begin there."""
    is_far: bool
    """Nor then."""


class Boundaries:
    """Texts in tokens, and the boundaries between them. One call at a time."""

    def __init__(self, tokenizer: TextTokenizer, max_remembered_chars: int = MAX_REMEMBERED_CHARS):
        special = tokenizer.special_tokens
        self._special_starts = None if special is None else frozenset(token[:1] for token in special)
        self._near_chars = NEAR_CHARS if special is None else max(map(len, special), default=0)
        self._tokenizer = tokenizer
        self._texts: BatchLru[str, TextTokens] = BatchLru(
            self._encode, max_remembered_chars, weight=lambda text: ENTRY_CHARS + len(text)
        )
        self._safe: dict[tuple[Tail, str], bool] = {}
        self._behind: dict[tuple[Tail, Tail], Tail] = {}
        self._num_chars, self._max_chars = 0, max_remembered_chars
        """Of the keys of these two."""

    start = Tail((), False)
    """The beginning of a prompt."""

    def tokens(self, texts: Iterable[str]) -> dict[str, TextTokens]:
        """Each text on its own."""
        return self._texts.of(texts)

    def behind(self, tail: Tail, text: TextTokens) -> Tail:
        """What stands in front of a boundary behind one more text."""
        if text.is_far or (text.is_long and not tail.has_special):
            return text.tail
        found = self._behind.get((tail, text.tail))
        if found is None:
            found = self._last((*tail.words, *text.tail.words))
            self._make_room(*tail.words, *text.tail.words)
            self._behind[tail, text.tail] = found
        return found

    def is_safe(self, tail: Tail, text: TextTokens, joined: JoinedChars) -> bool:
        """Whether the text's tokens may follow. Raises TooLargeError where `joined` does."""
        if not tail.words:
            return True
        head = text.long_head if tail.has_special else text.head
        safe = self._safe.get((tail, head))
        if safe is None:
            before = tail.text()
            if len(before) + len(head) > BATCH_CHARS:
                return False  # nobody's words are as long, and joined texts are right as well
            joined.add(2 * (len(before) + len(head)))
            safe = _is_safe(*self._tokenizer.encode_many([before, head, before + head]))
            self._make_room(before, head)
            self._safe[tail, head] = safe
        return safe

    def _make_room(self, *texts: str) -> None:
        """There are few boundaries that matter, so when room ends all are forgotten, instead of the oldest."""
        self._num_chars += ENTRY_CHARS + sum(map(len, texts))
        if self._num_chars > self._max_chars:
            self._safe.clear()
            self._behind.clear()
            self._num_chars = 0

    def _encode(self, texts: Sequence[str]) -> Iterator[TextTokens]:
        return map(self._text_tokens, texts, encoded(self._tokenizer, texts))

    def _text_tokens(self, text: str, found: Encoded) -> TextTokens:
        words = _words(text, found)
        head = "".join(words[:NEAR_WORDS])
        is_long = len(words) >= NEAR_WORDS
        return TextTokens(
            ids=array("i", found.ids),
            head=head,
            long_head=head + text[len(head) : self._near_chars],
            tail=self._last(words),
            is_long=is_long,
            is_far=is_long and len(text) >= self._near_chars,
        )

    def _last(self, words: Sequence[str]) -> Tail:
        """The last NEAR_WORDS of them, and those in front in which a special token could begin that spans their end."""
        first = place = max(0, len(words) - NEAR_WORDS)
        num_chars = sum(map(len, words[first:]))
        while place and num_chars < self._near_chars:
            place -= 1
            num_chars += len(words[place])
            if self._may_begin_special(words[place]):
                first = place
        last = tuple(words[first:])
        return Tail(last, any(map(self._may_begin_special, last)))

    def _may_begin_special(self, word: str) -> bool:
        return self._special_starts is None or not self._special_starts.isdisjoint(word)


def _words(text: str, encoded: Encoded) -> list[str]:
    """The text cut behind its words, so that white space that no token keeps leads the next."""
    ends = [
        end
        for place, end in enumerate(encoded.ends)
        if place + 1 < len(encoded.ends) and encoded.words[place] != encoded.words[place + 1]
    ]
    return [text[start:stop] for start, stop in zip([0, *ends], [*ends, len(text)], strict=True)] if text else []


def _is_safe(before: Encoded, after: Encoded, both: Encoded) -> bool:
    place = len(before.ids)
    if not 0 < place < len(both.ids) or both.words[place - 1] == both.words[place]:
        return False
    return both.ids == before.ids + after.ids
