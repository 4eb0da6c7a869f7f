"""A prefix cache of full blocks that starts empty and never evicts. Pure. A leaf."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from icm_annealer.core.arrays import Ints


class End(NamedTuple):
    """The end of a token sequence: its last full block in the cache, and the tokens after it."""

    block: int
    rest: Ints


class BlockCache:
    """Full blocks of `block_tokens` tokens, each identified by all tokens up to its end."""

    def __init__(self, block_tokens: int):
        self.block_tokens = block_tokens
        self._blocks: dict[tuple[int, bytes], int] = {}

    @property
    def num_tokens(self) -> int:
        """The tokens in all blocks."""
        return len(self._blocks) * self.block_tokens

    def append(self, end: End, ids: Ints) -> End:
        """The sequence that ends at `end`, continued by these token ids. Its full blocks are then in the cache."""
        block, rest = end.block, np.concatenate([end.rest, ids])
        num_whole = len(rest) // self.block_tokens
        for number in range(num_whole):
            key = (block, rest[number * self.block_tokens : (number + 1) * self.block_tokens].tobytes())
            block = self._blocks.setdefault(key, len(self._blocks) + 1)
        return End(block, rest[num_whole * self.block_tokens :])
