"""How much a request may have tokenized besides its texts: where they meet, and as joined texts. A leaf."""

from __future__ import annotations

from icm_client.contract.errors import TooLargeError

MAX_JOINED_CHARS = 2**25
"""Of one request, whatever its prefixes unfold to: some seconds' work."""
ENTRY_CHARS = 64
"""What a text counts besides its characters."""


class JoinedChars:
    """One request's. They are counted before they are put together."""

    def __init__(self, limit: int = MAX_JOINED_CHARS):
        self._limit, self._num = limit, 0

    def add(self, num_chars: int, num_texts: int = 1) -> None:
        """So many more, of all these texts together. Raises TooLargeError if that is too much for one request."""
        self._num += num_chars + ENTRY_CHARS * num_texts
        if self._num > self._limit:
            raise TooLargeError(
                "texts of this request tokenize differently next to each other than alone, so that more than "
                f"{self._limit} characters would have to be tokenized again: send fewer prompts per request, or "
                "texts that begin with white space and do not end in it",
                details={"limit": self._limit},
            )
