"""Cuts a request into parts, one for each engine that it gets: subtrees that share little with each other. Pure.

A part has a key, by which a pool of engines chooses the one that makes its reads. It is a digest of the text that the
part's prompts begin with, so that requests with the same context go to the same engine.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from itertools import chain, zip_longest
from typing import TypeVar

from icm_server.scheduling.planned_read import PlannedRead
from icm_server.scheduling.subtrees import Unit, units
from icm_server.sharing.steps import STEP_ITEMS, Steps
from icm_server.tokens.request_tree import RequestTree

SLACK = 1.25
"""A part may compute this many times its equal share of the tokens: two halves are rarely equal."""
KEY_CHARS = 1024
"""The characters of a prompt without a prefix that its key depends on."""

_T = TypeVar("_T")


def parts_of(reads: Sequence[PlannedRead], tree: RequestTree, num_parts: int) -> Steps[list[list[PlannedRead]]]:
    """The reads of each part, in order; `part` is set in all of them.

    There are about `num_parts`: neighbouring subtrees are joined while their tokens do not exceed an equal share by
    more than SLACK.
    """
    most = SLACK * sum(read.estimated_new_tokens for read in reads) / num_parts
    every = yield from units(reads, tree, most)
    parts: list[list[PlannedRead]] = []
    keys: Counter[bytes] = Counter()
    key, tokens = b"", 0.0
    for number, unit in enumerate(every):
        if not parts or tokens + unit.tokens > most:
            start = yield from _start(unit, tree)
            # Parts behind one prefix are for several engines, in every request alike.
            key = hashlib.blake2b(b"%d " % keys[start] + start, digest_size=16).digest()
            keys[start] += 1
            parts.append([])
            tokens = 0.0
        for read in unit.reads:
            read.part = key
        parts[-1].extend(unit.reads)
        tokens += unit.tokens
        if not number % STEP_ITEMS:
            yield
    return parts


def interleaved(parts: Sequence[Sequence[_T]]) -> list[_T]:
    """The first item of each part, then the second of each, and so on: all parts are at work at once."""
    nothing = object()
    return [item for item in chain.from_iterable(zip_longest(*parts, fillvalue=nothing)) if item is not nothing]  # type: ignore[misc]


def _start(unit: Unit, tree: RequestTree) -> Steps[bytes]:
    """A digest of the prefix's text, or of the beginning of the first prompt."""
    if unit.prefix is None:
        text = "".join(tree.prompts[unit.reads[0].prompt].added)[:KEY_CHARS]
        return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=16).digest()
    path = []
    prefix: int | None = unit.prefix
    while prefix is not None:
        path.append(prefix)
        prefix = tree.prefixes[prefix].parent
    digest = hashlib.blake2b(digest_size=16)
    for number, node in enumerate(reversed(path)):
        for text in tree.prefixes[node].added:
            digest.update(text.encode(errors="surrogatepass"))
        if not number % STEP_ITEMS:
            yield
    return digest.digest()
