"""A fast Hugging Face tokenizer behind the scorer's protocol."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from tokenizers.processors import TemplateProcessing

from icm_client.errors import RequestError
from icm_server.engines.base import Encoded


class HfTokenizer:
    """See `TextTokenizer`. Raises RequestError for a tokenizer without a fast implementation."""

    def __init__(self, tokenizer: Any):
        if not tokenizer.is_fast:
            raise RequestError("the model has no fast tokenizer (tokenizer.json), which the scorer needs")
        self._backend = copy.deepcopy(tokenizer.backend_tokenizer)
        self._backend.no_truncation()
        self._backend.no_padding()
        # Some of them move the ends of tokens; what else they do is not asked for.
        self._backend.post_processor = TemplateProcessing(single="$A", special_tokens=[])
        plain = tokenizer("a", add_special_tokens=False)["input_ids"]
        full = tokenizer("a")["input_ids"]
        self.bos: list[int] = full[: _find(full, plain)]
        """What the tokenizer itself puts in front of a text."""
        added = self._backend.get_added_tokens_decoder().values()
        # What of a text a normalizer makes into one of them is not known.
        is_normalized = self._backend.normalizer is not None and any(token.normalized for token in added)
        self.special_tokens = None if is_normalized else [token.content for token in added]

    def encode_many(self, texts: Sequence[str]) -> list[Encoded]:
        encodings = self._backend.encode_batch(list(texts), add_special_tokens=False)
        return [
            Encoded(e.ids, [word if word is not None else -1 for word in e.word_ids], [end for _, end in e.offsets])
            for e in encodings
        ]


def _find(full: list[int], part: list[int]) -> int:
    """Where `part` starts in `full`."""
    for start in range(len(full)):
        if full[start : start + len(part)] == part:
            return start
    return 0
