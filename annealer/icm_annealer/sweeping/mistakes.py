"""Every mistake of a sweep's file and of what it names, collected before anything is started. A leaf."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from icm_client.contract.errors import RequestError
from icm_client.text.counts import counted


class SweepMistakesError(RequestError):
    """The sweep cannot be started. `lines` are all mistakes, one a line; the message is the first one."""

    code = "bad_sweep"

    def __init__(self, lines: list[str]):
        more = f" (and {counted(len(lines) - 1, 'more mistake')})" if len(lines) > 1 else ""
        super().__init__(lines[0] + more)
        self.lines = lines


class Mistakes:
    """Collects mistakes, each with the place that it was made in."""

    def __init__(self) -> None:
        self._lines: dict[str, None] = {}

    def add(self, where: str, what: str) -> None:
        self._lines[f"{where}: {what}"] = None

    @contextlib.contextmanager
    def of(self, where: str) -> Iterator[None]:
        """Adds a RequestError that is raised inside, and goes on behind the context."""
        try:
            yield
        except RequestError as error:
            self.add(where, error.message)

    def check(self) -> None:
        """Raises SweepMistakesError if there are any."""
        if self._lines:
            raise self.error()

    def error(self) -> SweepMistakesError:
        """The error for those that there are."""
        return SweepMistakesError(list(self._lines))
