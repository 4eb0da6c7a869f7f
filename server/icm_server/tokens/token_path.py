"""Tokens along a prefix tree, each stored once: nodes below a prefix refer to it. A leaf."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Sequence

DIGEST_BYTES = 16


class TokenPath:
    """All tokens from the root to this node: those of `before`, then its own, text by text. Immutable.

    A text's tokens are one shared array, so a shot that occurs in many contexts is stored once.
    """

    __slots__ = ("before", "length", "texts")

    def __init__(self, before: TokenPath | None, texts: tuple[array[int], ...]):
        self.before, self.texts = before, texts
        self.length: int = sum(map(len, texts)) + (before.length if before is not None else 0)

    def own(self) -> array[int]:
        """Its own tokens in one array."""
        return _joined(self.texts)

    def ids(self) -> array[int]:
        """All tokens in one array."""
        parts: list[array[int]] = []
        path: TokenPath | None = self
        while path is not None:
            parts.extend(reversed(path.texts))
            path = path.before
        return _joined(reversed(parts))


class PathDigest:
    """A digest of all tokens along a path, however they are split; its cost is that of the texts added to `before`."""

    __slots__ = ("_hash",)

    def __init__(self, texts: Iterable[array[int]], before: PathDigest | None = None):
        self._hash: hashlib.blake2b = (
            before._hash.copy() if before is not None else hashlib.blake2b(digest_size=DIGEST_BYTES)
        )
        for tokens in texts:
            self._hash.update(tokens)

    def value(self) -> bytes:
        return self._hash.digest()


class PathCursor:
    """Builds the tokens of paths that follow each other depth first; the common beginning of two paths is built
    once."""

    def __init__(self) -> None:
        self._paths: list[TokenPath] = []
        self._places: dict[int, int] = {}
        self._ids: list[int] = []

    def ids(self, path: TokenPath, more: Sequence[int] = ()) -> list[int]:
        """The path's tokens followed by `more`; the caller owns the list."""
        fresh: list[TokenPath] = []
        found: TokenPath | None = path
        while found is not None and id(found) not in self._places:
            fresh.append(found)
            found = found.before
        keep = self._places[id(found)] + 1 if found is not None else 0
        for left in self._paths[keep:]:
            del self._places[id(left)]
        del self._paths[keep:]
        del self._ids[found.length if found is not None else 0 :]
        for each in reversed(fresh):
            self._places[id(each)] = len(self._paths)
            self._paths.append(each)
            for tokens in each.texts:
                self._ids.extend(tokens)
        return [*self._ids, *more]


class FreshTokens:
    """Counts the tokens that a perfect prefix cache would compute for paths that follow each other depth first."""

    def __init__(self) -> None:
        self._seen: set[int] = set()
        self._last: TokenPath | None = None

    def of(self, path: TokenPath) -> int:
        """The number of its tokens that no earlier path has (at least one: the last token is always computed)."""
        known: TokenPath | None = path
        while known is not None and id(known) not in self._seen:
            self._seen.add(id(known))
            known = known.before
        num_known = known.length if known is not None else 0
        last, self._last = self._last, path
        if last is not None and last.before is path.before is known:
            num_known += _num_common(last.own(), path.own())
        return max(1, path.length - num_known)


def _joined(parts: Iterable[array[int]]) -> array[int]:
    whole = array("i")
    for part in parts:
        whole.extend(part)
    return whole


def _num_common(one: array[int], other: array[int]) -> int:
    """The length of the common beginning."""
    stop = min(len(one), len(other))
    low = 0
    while low < stop:  # bisection: comparing slices is fast and comparing tokens is not
        middle = (low + stop + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            stop = middle - 1
    return low
