"""Adapts a fast Hugging Face tokenizer to the scorer's protocol."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from typing import Any

from tokenizers.processors import TemplateProcessing

from icm_client.contract.errors import RequestError
from icm_server.engines.base import Encoded


class HfTokenizer:
    """See `TextTokenizer`. Raises RequestError for a tokenizer without a fast implementation."""

    def __init__(self, tokenizer: Any):
        if not tokenizer.is_fast:
            raise RequestError("the scorer needs a fast tokenizer (tokenizer.json), which this model does not have")
        backend = copy.deepcopy(tokenizer.backend_tokenizer)
        backend.no_truncation()
        backend.no_padding()
        # Some post-processors move the ends of tokens; their other effects are not needed.
        backend.post_processor = TemplateProcessing(single="$A", special_tokens=[])
        plain = tokenizer("a", add_special_tokens=False)["input_ids"]
        full = tokenizer("a")["input_ids"]
        self.bos: list[int] = full[: _find(full, plain)]
        """The ids that the tokenizer itself puts in front of a text."""
        self._use(backend, is_plain=True)

    def with_special_tokens(self) -> HfTokenizer:
        other = copy.copy(self)
        other._use(copy.deepcopy(self._backend), is_plain=False)
        return other

    def encode_many(self, texts: Sequence[str]) -> list[Encoded]:
        return [
            Encoded(e.ids, [word if word is not None else -1 for word in e.word_ids], [end for _, end in e.offsets])
            for e in self._encoded(texts)
        ]

    def count_many(self, texts: Sequence[str]) -> list[int]:
        return list(map(len, self._encoded(texts)))

    def _encoded(self, texts: Sequence[str]) -> list[Any]:
        encodings: list[Any] = self._backend.encode_batch(list(texts), add_special_tokens=False)
        if self._never:
            for each in encodings:
                if not self._never.isdisjoint(each.ids):
                    raise self._not_plain(each.ids)
        return encodings

    def _use(self, backend: Any, *, is_plain: bool) -> None:
        """Enables or disables special tokens in texts: those marked special, never tokens that were added without the
        mark."""
        self._backend = backend
        backend.encode_special_tokens = is_plain
        added = backend.get_added_tokens_decoder()
        # Some vocabularies also list special tokens as ordinary tokens, so plain text can still match them.
        self._never = frozenset(
            number for number, token in added.items() if is_plain and token.special and len(token.content.strip()) > 1
        ) - {_unknown(backend)}
        recognized = [token for token in added.values() if not (is_plain and token.special)]
        # It is not known which texts a normalizer turns into special tokens.
        is_normalized = backend.normalizer is not None and any(token.normalized for token in recognized)
        self.special_tokens = None if is_normalized else [token.content for token in recognized]

    def _not_plain(self, ids: Sequence[int]) -> RequestError:
        token = self._backend.id_to_token(next(number for number in ids if number in self._never))
        return RequestError(
            f"a text contains {token!r}, which this model's tokenizer cannot treat as plain text: remove it, or set "
            "special_tokens if the special token is meant",
            code="special_token",
            details={"token": token},
        )


def _unknown(backend: Any) -> int | None:
    """The token of characters outside the vocabulary, which any text may contain."""
    model = json.loads(backend.to_str())["model"]
    number: int | None = model.get("unk_id")
    return number if number is not None else backend.token_to_id(model.get("unk_token") or "")


def _find(full: list[int], part: list[int]) -> int:
    """The index in `full` at which `part` starts."""
    for start in range(len(full)):
        if full[start : start + len(part)] == part:
            return start
    return 0
