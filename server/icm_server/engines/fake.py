"""A deterministic engine without a model: a small in-context learner, fast enough for any test.

It reads a prompt as shots between blank lines and answers as a kernel classifier would: an earlier shot votes for
the token that follows it, the more the more words it shares with the query. So a search on it has something to find.
"""

from __future__ import annotations

import asyncio
import re
import zlib
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from icm_client.wire import ModelInfo
from icm_server.engines.base import Encoded, ReadAnswer

_PIECE = re.compile(r"\n+| ?[^\s]+|[^\S\n]+")
_VOCABULARY = 2**31 - 1
_BLOCK_TOKENS = 16
_MAX_BLOCKS = 262_144


class FakeTokenizer:
    """Words with their leading space, runs of newlines, other space; ids are checksums, so no vocabulary is kept."""

    bos: list[int] = []  # noqa: RUF012  (read only)

    def encode_many(self, texts: Sequence[str]) -> list[Encoded]:
        return [self._encode(text) for text in texts]

    def _encode(self, text: str) -> Encoded:
        ids = [zlib.crc32(piece.encode()) % _VOCABULARY for piece in _PIECE.findall(text)]
        return Encoded(ids, list(range(len(ids))))


class FakeEngine:
    """See the module. Answers depend on the prompt's tokens and `seed` alone, never on batches or on the cache."""

    def __init__(
        self,
        *,
        seed: int = 0,
        max_prompt_tokens: int = 8191,
        max_concurrent_reads: int = 256,
        delay_s: float = 0.0,
        sharpness: float = 6.0,
    ):
        self.info = ModelInfo(
            name="fake",
            digest=f"fake-{seed}-{sharpness}",
            dtype="float64",
            engine="fake 1",
            max_prompt_tokens=max_prompt_tokens,
            adds_bos=False,
        )
        self.tokenizer = FakeTokenizer()
        self.max_concurrent_reads = max_concurrent_reads
        self._seed, self._delay_s, self._sharpness = seed, delay_s, sharpness
        self._separator = self.tokenizer.encode_many(["\n\n"])[0].ids[0]
        self._blocks: OrderedDict[int, None] = OrderedDict()

    async def read(self, token_ids: Sequence[int], wanted_ids: Sequence[int], model: str) -> ReadAnswer:
        if self._delay_s:
            await asyncio.sleep(self._delay_s)
        ids = np.array(token_ids, dtype=np.int64)
        return ReadAnswer(self._logprobs(ids, wanted_ids), self._cached(ids))

    async def close(self) -> None:
        self._blocks.clear()

    def _logprobs(self, ids: np.ndarray, wanted_ids: Sequence[int]) -> list[float]:
        bounds = np.flatnonzero(ids == self._separator)
        query_start = int(bounds[-1]) + 1 if len(bounds) else 0
        in_query = np.isin(ids, ids[query_start:])
        shot_of = np.searchsorted(bounds, np.arange(len(ids)))
        num_shots = len(bounds) + 1
        sizes = np.bincount(shot_of, minlength=num_shots)
        shared = np.bincount(shot_of, weights=in_query, minlength=num_shots)
        # Shared words beside what all shots share (the template): only those tell two examples apart.
        usual = shared[:-1].min() if num_shots > 1 else 0.0
        weight = np.exp(self._sharpness * (shared - usual) / np.maximum(sizes, 1))
        votes = []
        for wanted in wanted_ids:
            places = np.flatnonzero(ids[:query_start] == wanted)
            prior = 0.5 + zlib.crc32(f"{self._seed} {wanted}".encode()) / 2**32
            votes.append(prior + float(weight[shot_of[places]].sum()))
        total = sum(votes)
        elsewhere = 1.0 / (1.0 + total)  # the mass of all other words shrinks as the context grows
        return [float(np.log(vote / total * (1.0 - elsewhere))) for vote in votes]

    def _cached(self, ids: np.ndarray) -> int:
        """What a prefix cache of whole blocks would have held, and holds from now on."""
        cached, chain, unbroken = 0, 0, True
        for start in range(0, len(ids) - _BLOCK_TOKENS + 1, _BLOCK_TOKENS):
            chain = zlib.crc32(ids[start : start + _BLOCK_TOKENS].tobytes(), chain) + (start << 32)
            known = chain in self._blocks
            unbroken = unbroken and known
            cached += _BLOCK_TOKENS if unbroken else 0
            self._blocks[chain] = None
            self._blocks.move_to_end(chain)
            chain &= 0xFFFFFFFF
        while len(self._blocks) > _MAX_BLOCKS:
            self._blocks.popitem(last=False)
        return min(cached, len(ids) - 1)
