"""Cuts a request into parts, one for each engine that it gets: subtrees that share little with each other. Pure.

All parts of a request have a key in common, by which a pool of engines chooses where they are read. It is a digest of
the text that the request's prompts begin with, so that requests with the same context go to the same engines.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import chain, zip_longest
from typing import TypeVar

from icm_server.engines.base import Part
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
    part, tokens = Part(b"", 0), 0
    for number, unit in enumerate(every):
        if not parts:
            part = Part((yield from _start(unit, tree)), 0)
            parts.append([])
        elif tokens + unit.tokens > most:
            part, tokens = Part(part.key, len(parts)), 0
            parts.append([])
        for read in unit.reads:
            read.part = part
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
