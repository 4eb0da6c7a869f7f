"""The engine interface: tokens in, log-probabilities of given tokens out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from icm_client.contract.batches import batches
from icm_client.contract.wire import ModelInfo
from icm_server.adapters.host import AdapterHost

BATCH_CHARS = 2**16
"""Characters tokenized in one call, which takes tens of milliseconds."""


class Encoded(NamedTuple):
    """A text's tokens without special tokens; for each token the index of its word, and its end.

    A word is a piece that the tokenizer splits off before merging, so no token can span a boundary between two words,
    whatever else the text contains. A tokenizer without words has all tokens in word 0. A token's end is the number of
    characters of the text up to its end.
    """

    ids: list[int]
    words: list[int]
    ends: list[int]


class TextTokenizer(Protocol):
    """The engine's tokenizer, as `prefix_tokens` uses it. `bos` holds the ids that start every prompt.

    An engine's tokenizer is plain: it treats special tokens (`<|endoftext|>`, `<s>`) in a text as ordinary characters.
    """

    @property
    def bos(self) -> list[int]: ...

    @property
    def special_tokens(self) -> Sequence[str] | None:
        """Texts that are always a single token; None if these texts are not known."""
        ...

    def with_special_tokens(self) -> TextTokenizer:
        """The same tokenizer, but it recognises special tokens in texts."""
        ...

    def encode_many(self, texts: Sequence[str]) -> list[Encoded]:
        """Raises RequestError for a text that it cannot tokenize."""
        ...

    def count_many(self, texts: Sequence[str]) -> list[int]:
        """The number of tokens of each text. Raises what `encode_many` does."""
        ...


def encoded(tokenizer: TextTokenizer, texts: Iterable[str]) -> Iterator[Encoded]:
    """Each text's tokens, in batches: a tokenizer's result takes a hundred times the memory of its text."""
    for batch in batches(texts, BATCH_CHARS):
        yield from tokenizer.encode_many(batch)


class ReadAnswer(NamedTuple):
    """Natural-log probabilities in the order of the requested ids, and the number of prompt tokens found in the prefix
    cache."""

    logprobs: list[float]
    num_cached_tokens: int


class Part(NamedTuple):
    """A part of a request: reads that share most of their prompts, so one engine of a pool makes all of them."""

    key: bytes
    """The same in all parts of a request, and of requests with the same context."""
    number: int
    """From 0 on; different numbers of one key go to different engines."""


class Route(NamedTuple):
    """What a pool of engines needs to know of a read; a single engine ignores it."""

    part: Part
    new_tokens: int
    """The tokens that this engine probably computes for the read."""


class Members(NamedTuple):
    """The engines that an engine consists of."""

    total: int
    up: int
    """Those that answer now."""
    lost: int
    """How many have ended since the start."""


SINGLE = Members(1, 1, 0)
"""An engine that is no pool."""


class Engine(Protocol):
    """One running model. `read` may be called concurrently; cancelling it cancels the work."""

    info: ModelInfo

    @property
    def members(self) -> Members: ...

    @property
    def tokenizer(self) -> TextTokenizer: ...

    max_concurrent_reads: int
    """The most reads that the scorer keeps in the engine at once."""
    max_concurrent_tokens: int
    """Tokens to compute in two steps of the engine. The scorer keeps this many in it; fewer while experiments share it,
    and one step more for saved reads."""
    cache_tokens: int
    """The size of its prefix cache in tokens."""

    @property
    def adapters(self) -> AdapterHost | None:
        """What loads LoRA adapters into it; None if it applies none."""
        ...

    @property
    def identity(self) -> str:
        """Identifies all that answers depend on besides tokens and an adapter: weights, precision, engine."""
        ...

    async def read(
        self,
        token_ids: list[int],
        target_ids: Sequence[int],
        model: str,
        rank: int = 0,
        salt: str | None = None,
        route: Route | None = None,
    ) -> ReadAnswer:
        """log p(id | token_ids) for each of at most `label_trie.MAX_READ_IDS` ids, by `base` or an adapter's key.

        The engine takes ownership of `token_ids`. Of waiting reads it starts the one with the lowest rank first. Only
        reads with the same `salt` share prefixes in its cache. Raises ScorerError if the engine fails, EngineDiedError
        if it cannot answer any more.
        """
        ...

    async def check(self) -> None:
        """Raises EngineDiedError if the engine has died, or hangs. It is called every second or two."""
        ...

    async def close(self) -> None: ...


class EngineDiedError(Exception):
    """The engine has died; the process has to be restarted."""
