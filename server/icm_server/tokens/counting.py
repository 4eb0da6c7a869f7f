"""Counts the tokens of texts. One step at a time."""

from __future__ import annotations

from collections.abc import Sequence

from icm_client.contract.batches import batches
from icm_server.engines.base import BATCH_CHARS, TextTokenizer
from icm_server.sharing.steps import Steps
from icm_server.tokens.window import Window


def counts(tokenizer: TextTokenizer, max_tokens: int, texts: Sequence[str]) -> Steps[list[int]]:
    """The number of tokens of each text by itself. Raises RequestError for a text that is clearly longer than a prompt
    of `max_tokens`."""
    window = Window(tokenizer, max_tokens)
    for text in texts:
        yield from window.check(text, lambda text: ("text", texts.index(text)))
    found: list[int] = []
    for batch in batches(texts, BATCH_CHARS):
        found += tokenizer.count_many(batch)
        yield
    return found
