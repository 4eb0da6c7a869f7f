"""The limit on characters that a request may have tokenized in addition to its texts: at boundaries and in joined
texts. A leaf."""

from __future__ import annotations

from icm_client.contract.errors import TooLargeError

MAX_JOINED_CHARS = 2**25
"""For one request, whatever its prefixes expand to: a few seconds of work."""
ENTRY_CHARS = 64
"""Each text counts this many characters more than it has."""


class JoinedChars:
    """Counts one request's characters. They are counted before they are joined."""

    def __init__(self, limit: int = MAX_JOINED_CHARS):
        self._limit, self._num = limit, 0

    def add(self, num_chars: int, num_texts: int = 1) -> None:
        """Adds the characters of these texts. Raises TooLargeError if they are too many for one request."""
        self._num += num_chars + ENTRY_CHARS * num_texts
        if self._num > self._limit:
            raise TooLargeError(
                "texts of this request tokenize differently next to each other than alone, so that more than "
                f"{self._limit} characters would have to be tokenized again: send fewer prompts per request, or "
                "texts that begin with white space and do not end in it",
                details={"limit": self._limit},
            )
