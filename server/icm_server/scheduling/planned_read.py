"""One read of a request's plan. A leaf."""

from __future__ import annotations

from dataclasses import dataclass

from icm_client.contract.label_trie import TrieRead


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
    part: bytes = b""
    """The part of the request that it belongs to; see `parts.py`."""
