"""Boundaries between texts: whether the tokens of two joined texts are the tokens of each. Results are cached.

A boundary is *safe* if tokenizing the text around it gives the tokens of both sides, and no word spans it. A word is
what a tokenizer splits off, from left to right, before it merges anything. So a text that starts at a safe boundary is
split as if it stood alone, and only the words next to the boundary matter. Special tokens are matched before words are
split; one that spans a boundary begins in the characters before it, so these are checked too.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from icm_server.engines.base import BATCH_CHARS, Encoded, TextTokenizer, encoded
from icm_server.tokens.batch_lru import BatchLru
from icm_server.tokens.joined_chars import ENTRY_CHARS, JoinedChars

MAX_REMEMBERED_CHARS = 2**24
"""The most cached characters of texts, and of words at boundaries."""
NEAR_WORDS = 3
"""The fewest words that are checked on each side of a boundary."""
NEAR_CHARS = 32
"""How far from a boundary a special token that spans it may begin or end, if the lengths of special tokens are not
known."""


class Tail(NamedTuple):
    """The last words before a boundary: all of the preceding text that matters."""

    words: tuple[str, ...]
    has_special: bool
    """A special token could begin in these words and span the boundary."""

    def text(self) -> str:
        return "".join(self.words)


class TextTokens(NamedTuple):
    """A text by itself: its tokens, its first words, and its last words."""

    ids: array[int]
    head: str
    long_head: str
    """Long enough for the rest of a special token that begins before the text."""
    tail: Tail
    is_long: bool
    """Text before it does not matter after it, unless a special token could begin there."""
    is_far: bool
    """Text before it does not matter after it, even if a special token could begin there."""


class Boundaries:
    """Tokenizes texts and checks the boundaries between them. One call at a time."""

    def __init__(self, tokenizer: TextTokenizer, max_remembered_chars: int = MAX_REMEMBERED_CHARS):
        special = tokenizer.special_tokens
        self._special_starts = None if special is None else frozenset(token[:1] for token in special)
        self._near_chars = NEAR_CHARS if special is None else max(map(len, special), default=0)
        self._tokenizer = tokenizer
        self._texts: BatchLru[str, TextTokens] = BatchLru(
            self._encode, max_remembered_chars, weight=lambda text: ENTRY_CHARS + len(text)
        )
        self._safe: dict[tuple[Tail, str], bool] = {}
        self._tails_after: dict[tuple[Tail, Tail], Tail] = {}
        self._num_chars, self._max_chars = 0, max_remembered_chars
        """Of the keys of these two caches."""

    start = Tail((), False)
    """The beginning of a prompt."""

    def tokens(self, texts: Iterable[str]) -> dict[str, TextTokens]:
        """Tokenizes each text by itself."""
        return self._texts.of(texts)

    def tail_after(self, tail: Tail, text: TextTokens) -> Tail:
        """The tail before the boundary that follows `text`."""
        if text.is_far or (text.is_long and not tail.has_special):
            return text.tail
        found = self._tails_after.get((tail, text.tail))
        if found is None:
            found = self._last((*tail.words, *text.tail.words))
            self._make_room(*tail.words, *text.tail.words)
            self._tails_after[tail, text.tail] = found
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
                return False  # no real word is that long, and a joined text gives the right tokens too
            joined.add(2 * (len(before) + len(head)))
            safe = _is_safe(*self._tokenizer.encode_many([before, head, before + head]))
            self._make_room(before, head)
            self._safe[tail, head] = safe
        return safe

    def _make_room(self, *texts: str) -> None:
        """Few boundaries matter, so a full cache is cleared instead of evicting the oldest entries."""
        self._num_chars += ENTRY_CHARS + sum(map(len, texts))
        if self._num_chars > self._max_chars:
            self._safe.clear()
            self._tails_after.clear()
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
        """The last NEAR_WORDS words, and the words before them in which a special token that spans their end could
        begin."""
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
    """The text cut after each word; white space without tokens goes to the next word."""
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
