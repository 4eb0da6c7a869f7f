"""One read of a request's plan."""

from __future__ import annotations

from dataclasses import dataclass

from icm_client.contract.label_trie import TrieRead
from icm_server.engines.base import Part

NO_PART = Part(b"", 0)


@dataclass(eq=False, slots=True)
class PlannedRead:
    """One read, for every prompt of the request that is identical to prompt number `prompt`."""

    prompt: int
    read: TrieRead
    key: bytes
    """The cache key: equal for two reads that have the same answer."""
    prompt_tokens: int
    """Tokens of the prompt and of the read's path."""
    estimated_new_tokens: int = 1
    """How many of these tokens the engine probably computes."""
    part: Part = NO_PART
    """The part of the request that it belongs to; see `parts.py`."""
