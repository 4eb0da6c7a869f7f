"""Rejects texts that are clearly too long for the model's window before they are tokenized as a whole, which takes
seconds."""

from __future__ import annotations

from collections.abc import Callable

from icm_client.contract.errors import RequestError
from icm_client.contract.wire import MAX_TEXT_CHARS
from icm_server.engines.base import BATCH_CHARS, TextTokenizer
from icm_server.sharing.steps import Steps

CHARS_PER_TOKEN = 8
"""Characters per token that few texts exceed."""
MAX_CHARS_PER_TOKEN = 64
"""Characters per token that no text exceeds: a longer text is not tokenized."""


class Window:
    """The model's window, `max_tokens` for a prompt."""

    def __init__(self, tokenizer: TextTokenizer, max_tokens: int):
        self._tokenizer, self._max_tokens = tokenizer, max_tokens
        self.max_chars = min(MAX_TEXT_CHARS, max(BATCH_CHARS, MAX_CHARS_PER_TOKEN * max_tokens))
        """No prompt has more characters."""

    def too_many_chars(self, kind: str, number: int) -> RequestError:
        """The error for a text of more than `max_chars` characters."""
        return RequestError(
            f"{kind} {number} has more than {self.max_chars} characters, too many for the model's context window: "
            "shorten it, or its prefix",
            code="prompt_too_long",
            details={kind: number, "limit": self.max_chars},
        )

    def check(self, text: str, name: Callable[[str], tuple[str, int]]) -> Steps[None]:
        """Raises RequestError for a text whose beginning alone has too many tokens.

        Only beginnings are tokenized, each twice as long as the one before. `name` returns what the error calls the
        text (prefix, prompt or text) and its index.
        """
        num_chars = max(BATCH_CHARS, CHARS_PER_TOKEN * self._max_tokens)
        if len(text) > self.max_chars:
            raise self.too_many_chars(*name(text))
        while len(text) > num_chars:
            # The text that follows changes only the last tokens; counting half of them is on the safe side.
            num_tokens = self._tokenizer.count_many([text[:num_chars]])[0] // 2
            if num_tokens > self._max_tokens:
                raise prompt_too_long(*name(text), num_tokens, self._max_tokens)
            num_chars *= 2
            yield


def prompt_too_long(kind: str, number: int, num_tokens: int, limit: int) -> RequestError:
    """The error for a prefix, a prompt or a text that does not fit the model's window."""
    return RequestError(
        f"{kind} {number} has {num_tokens} tokens; the model's limit is {limit}: shorten it, or its prefix",
        code="prompt_too_long",
        details={kind: number, "tokens": num_tokens, "limit": limit},
    )
