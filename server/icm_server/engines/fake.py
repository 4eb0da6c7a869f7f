"""A deterministic engine without a model: a small in-context learner, fast enough for any test.

It reads a prompt as shots between blank lines. Each earlier occurrence of the prompt's last token votes for the token
that followed it; a vote weighs more the more words its shot shares with the last shot. So a search on this engine has
structure to find. As in any language model, a token's probability does not depend on the other requested tokens.
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
import re
import zlib
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from icm_client.contract.errors import RequestError
from icm_client.contract.wire import ModelInfo
from icm_server.config import ServerConfig
from icm_server.engines.base import SINGLE, Encoded, Engine, ReadAnswer, Route
from icm_server.engines.fake_adapters import FakeAdapters
from icm_server.engines.places import ANYWHERE
from icm_server.engines.registry import EngineKind, Pooling, Say

SPECIAL = ("<|endoftext|>",)
_VOCABULARY = 2**31 - 1
_BLOCK_TOKENS = 16


class FakeTokenizer:
    """Splits a text into words with their leading space, runs of newlines, and other space. Ids are checksums, so no
    vocabulary is stored.

    With special tokens enabled, it has one.
    """

    bos: list[int] = []  # noqa: RUF012  (read only)

    def __init__(self, special_tokens: Sequence[str] = ()):
        self.special_tokens = special_tokens
        named = "".join(f"{re.escape(token)}|" for token in special_tokens)
        word = "".join(f"(?!{re.escape(token)})" for token in special_tokens) + r"[^\s]"
        self._piece = re.compile(rf"{named}\n+| ?(?:{word})+|[^\S\n]+" if special_tokens else r"\n+| ?[^\s]+|[^\S\n]+")

    def with_special_tokens(self) -> FakeTokenizer:
        return FakeTokenizer(SPECIAL)

    def encode_many(self, texts: Sequence[str]) -> list[Encoded]:
        return [self._encode(text) for text in texts]

    def count_many(self, texts: Sequence[str]) -> list[int]:
        return [len(found.ids) for found in self.encode_many(texts)]

    def _encode(self, text: str) -> Encoded:
        pieces = self._piece.findall(text)
        ids = [zlib.crc32(piece.encode()) % _VOCABULARY for piece in pieces]
        if self.special_tokens:
            ids = [
                _VOCABULARY if piece in self.special_tokens else number
                for piece, number in zip(pieces, ids, strict=True)
            ]
        return Encoded(ids, list(range(len(ids))), list(itertools.accumulate(map(len, pieces))))


class FakeEngine:
    """See the module. Answers depend only on the prompt's tokens, `seed` and the adapter's content, never on batches or
    the cache."""

    members = SINGLE

    def __init__(
        self,
        *,
        seed: int = 0,
        max_prompt_tokens: int = 8191,
        max_concurrent_reads: int = 256,
        max_concurrent_tokens: int = 2**20,
        cache_tokens: int = 2**22,
        delay_s: float = 0.0,
        tokens_per_s: float = 0.0,
        sharpness: float = 6.0,
    ):
        """Each read takes `delay_s`. If a speed is given, reads also take the time of their computed tokens, one after
        the other."""
        self.info = ModelInfo(
            name="fake",
            digest=f"fake-{seed}-{sharpness}",
            dtype="float64",
            engine="fake 1",
            max_prompt_tokens=max_prompt_tokens,
            adds_bos=False,
            cache_block_tokens=_BLOCK_TOKENS,
        )
        self.tokenizer, self.adapters = FakeTokenizer(), FakeAdapters()
        self.max_concurrent_reads, self.max_concurrent_tokens = max_concurrent_reads, max_concurrent_tokens
        self.cache_tokens = cache_tokens
        self._seed, self._delay_s, self._tokens_per_s, self._sharpness = seed, delay_s, tokens_per_s, sharpness
        self._free_at = 0.0
        self._separators = [self.tokenizer.encode_many(["\n" * n])[0].ids[0] for n in range(2, 9)]
        self._blocks: OrderedDict[int, None] = OrderedDict()

    @property
    def identity(self) -> str:
        return self.info.digest

    async def read(
        self,
        token_ids: list[int],
        target_ids: Sequence[int],
        model: str,
        rank: int = 0,
        salt: str | None = None,
        route: Route | None = None,
    ) -> ReadAnswer:
        if self._delay_s:
            await asyncio.sleep(self._delay_s)
        ids = np.array(token_ids, dtype=np.int64)
        num_cached = self._cached(ids, f"{model} {salt or ''}")
        if self._tokens_per_s:
            now = asyncio.get_running_loop().time()
            self._free_at = max(self._free_at, now) + (len(ids) - num_cached) / self._tokens_per_s
            await asyncio.sleep(self._free_at - now)
        return ReadAnswer(self._logprobs(ids, target_ids, self._seed ^ self.adapters.seed(model)), num_cached)

    async def check(self) -> None:
        """A fake engine does not die."""

    async def close(self) -> None:
        self._blocks.clear()

    def _logprobs(self, ids: NDArray[np.int64], target_ids: Sequence[int], seed: int) -> list[float]:
        """log((prior + votes) / (1 + all votes)), with priors of a few thousandths by hash."""
        bounds = np.flatnonzero(np.isin(ids, self._separators))
        query_start = int(bounds[-1]) + 1 if len(bounds) else 0
        followed = np.flatnonzero(ids[: max(query_start - 1, 0)] == ids[-1])
        followers, votes = ids[followed + 1], np.zeros(0)
        if len(followed):
            votes = self._weights(ids, bounds, query_start)[np.searchsorted(bounds, followed)]
        total = 1.0 + float(votes.sum())
        query = zlib.crc32(ids[query_start:].tobytes(), seed)
        return [
            float(np.log((_prior(query, target) + float(votes[followers == target].sum())) / total))
            for target in target_ids
        ]

    def _weights(self, ids: NDArray[np.int64], bounds: NDArray[np.intp], query_start: int) -> NDArray[np.float64]:
        """The weight of each shot's votes: the fraction of its words that also occur in the query."""
        edges = [0, *(bounds[:-1] + 1)]
        in_query = np.isin(ids[:query_start], ids[query_start:])
        shared = np.add.reduceat(in_query, edges, dtype=np.int64)
        sizes = np.diff([*edges, query_start])
        # Words that occur in every shot are the template; they do not distinguish examples.
        usual = shared[sizes > 1].min(initial=len(ids))
        weights: NDArray[np.float64] = np.exp(self._sharpness * np.maximum(shared - usual, 0) / sizes)
        return weights

    def _cached(self, ids: NDArray[np.int64], salt: str) -> int:
        """The number of tokens that a prefix cache of whole blocks had, and adds this prompt to it."""
        num_cached, chain, unbroken = 0, zlib.crc32(salt.encode()), True
        usable = (len(ids) - 1) // _BLOCK_TOKENS  # the last token is always computed
        for number in range(len(ids) // _BLOCK_TOKENS):
            start = number * _BLOCK_TOKENS
            chain = zlib.crc32(ids[start : start + _BLOCK_TOKENS].tobytes(), chain)
            block = (start << 32) + chain
            unbroken = unbroken and block in self._blocks
            num_cached += _BLOCK_TOKENS if unbroken and number < usable else 0
            self._blocks[block] = None
            self._blocks.move_to_end(block)
        while len(self._blocks) > self.cache_tokens // _BLOCK_TOKENS:
            self._blocks.popitem(last=False)
        return num_cached


def _prior(query: int, target: int) -> float:
    """Between 0.004 and 0.007: the probability without a context."""
    return 0.004 + 0.003 * zlib.crc32(f"{query} {target}".encode()) / 2**32


def _load(config: ServerConfig, say: Say) -> Engine:
    known = inspect.signature(FakeEngine).parameters
    for key in config.engine_args:
        if key not in known:
            raise RequestError(f"the fake engine has no argument {key!r}; it has {', '.join(sorted(known))}")
    return FakeEngine(**config.engine_args)


_POOLING = Pooling(lambda config, say: FakeTokenizer(), lambda config: [ANYWHERE] * config.engines)
ENGINE = EngineKind(_load, takes=frozenset({"engine_args", "adapters"}), pooling=_POOLING)
