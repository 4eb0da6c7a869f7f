"""What an engine provides: tokens in, log-probabilities of given tokens out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from icm_client.contract.batches import batches
from icm_client.contract.wire import ModelInfo

BATCH_CHARS = 2**16
"""Characters that are tokenized at once, in some hundredths of a second."""


class Encoded(NamedTuple):
    """A text's tokens, no special tokens added; for each the number of the word that it belongs to, and its end.

    A word is a piece that the tokenizer cuts off before merging, so a boundary between two words is a place that
    no token can span whatever else the text holds. A tokenizer without words has all tokens in word 0. A token's end
    is the number of the text's characters up to it.
    """

    ids: list[int]
    words: list[int]
    ends: list[int]


class TextTokenizer(Protocol):
    """The engine's tokenizer, as `prefix_tokens` uses it. `bos` holds the ids that start every prompt.

    An engine's is plain: special tokens (`<|endoftext|>`, `<s>`) in a text are characters like all others.
    """

    @property
    def bos(self) -> list[int]: ...

    @property
    def special_tokens(self) -> Sequence[str] | None:
        """Texts that are one token each wherever they stand; None if it is not known what they look like."""
        ...

    def with_special_tokens(self) -> TextTokenizer:
        """The same, but what reads like a special token in a text is that token."""
        ...

    def encode_many(self, texts: Sequence[str]) -> list[Encoded]:
        """Raises RequestError for a text that it has no tokens for."""
        ...

    def count_many(self, texts: Sequence[str]) -> list[int]:
        """How many tokens each text has. Raises what `encode_many` does."""
        ...


def encoded(tokenizer: TextTokenizer, texts: Iterable[str]) -> Iterator[Encoded]:
    """Every text's tokens, in batches: what a tokenizer says of a text takes a hundred times its memory."""
    for batch in batches(texts, BATCH_CHARS):
        yield from tokenizer.encode_many(batch)


class ReadAnswer(NamedTuple):
    """Natural-log probabilities in the order of the ids asked, and how many prompt tokens the cache held."""

    logprobs: list[float]
    num_cached_tokens: int


class Engine(Protocol):
    """One running model. `read` may be called concurrently; cancelling it cancels the work."""

    info: ModelInfo

    @property
    def tokenizer(self) -> TextTokenizer: ...

    max_concurrent_reads: int
    """The most reads that the scorer has in the engine at once."""
    max_concurrent_tokens: int
    """Tokens to compute of two of its steps: what the scorer keeps in it; fewer where experiments wait for each other,
    and a step's more for reads that were saved up for."""
    cache_tokens: int
    """How many tokens its prefix cache holds."""

    def identity(self, model: str) -> str:
        """All that answers under `base` or an adapter's name depend on besides tokens: weights, precision, engine."""
        ...

    async def read(
        self, token_ids: list[int], target_ids: Sequence[int], model: str, rank: int = 0, salt: str | None = None
    ) -> ReadAnswer:
        """log p(id | token_ids) for each of at most `label_trie.MAX_READ_IDS` ids, under `base` or an adapter's name.

        The list of tokens is the engine's own from here on. Of reads that wait in it, it begins with the lowest rank.
        Only reads of the same `salt` share what its prefix cache holds.
        Raises ScorerError if the engine fails, EngineDiedError if it will never answer again.
        """
        ...

    async def check(self) -> None:
        """Raises EngineDiedError if the engine has died."""
        ...

    async def close(self) -> None: ...


class EngineDiedError(Exception):
    """The engine has died; the process has to be restarted."""
