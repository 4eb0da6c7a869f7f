"""What a command prints: its result on stdout, all else on stderr. No other module of a command opens a stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pydantic_core
from rich.console import RenderableType

from icm_annealer.console.terminal import Terminal


class Output:
    """The two streams of a command.

    The result goes to stdout: as text, or as one JSON object and nothing else if `as_json`. Progress, notes and
    warnings go to stderr; `quiet` leaves out progress and notes.
    """

    def __init__(self, *, quiet: bool = False, as_json: bool = False):
        self.text = Terminal(quiet=as_json)
        """For the result as text: tables, and functions that print one."""
        self.aside = Terminal(stderr=True, quiet=quiet)
        """For progress."""
        self._warnings = Terminal(stderr=True)
        self._as_json = as_json

    def say(self, line: str, *, wraps: bool = False) -> None:
        """Prints a line of the result."""
        self.text.say(line, wraps=wraps)

    def show(self, result: RenderableType) -> None:
        """Prints a part of the result that is no line, such as a table."""
        self.text.print(result)

    def json(self, result: Mapping[str, object]) -> None:
        """Prints the whole result as one JSON object, if JSON was asked for. NaN becomes null."""
        if self._as_json:
            Terminal().say(pydantic_core.to_json(dict(result), inf_nan_mode="null").decode())

    def inform(self, line: str, *, wraps: bool = False) -> None:
        """Prints what is neither a result nor worth attention, such as what is being done."""
        self.aside.say(line, wraps=wraps)

    def note(self, text: str) -> None:
        """Prints a note: worth knowing."""
        self.inform(f"note: {text}", wraps=True)

    def warn(self, text: str) -> None:
        """Prints a warning, also with `quiet`."""
        self._warnings.say(f"warning: {text}", wraps=True)

    def alarm(self, line: str, *, is_warning: bool) -> None:
        """Prints an alarm about a result: one that warns also with `quiet`."""
        (self._warnings if is_warning else self.aside).say(line, wraps=True)

    def insist(self, line: str) -> None:
        """Prints a line on stderr, also with `quiet`: an error, or how to go on after a stop."""
        self._warnings.say(line)

    def fail(self, error: str, table: Sequence[str] = ()) -> None:
        """Prints an error in one line, below the faults that it sums up."""
        for line in [*table, f"error: {error}"]:
            self._warnings.say(line)

    def trace(self, text: str) -> None:
        """Prints a traceback, of a bug in this program."""
        self._warnings.print(text, soft_wrap=True)

    def ask(self, question: str, default: str = "") -> str:
        """See `Terminal.ask`; asked on stderr."""
        return self._warnings.ask(question, default)


def silent() -> Terminal:
    """A terminal that shows nothing, for work whose progress nobody watches."""
    return Terminal(quiet=True)
