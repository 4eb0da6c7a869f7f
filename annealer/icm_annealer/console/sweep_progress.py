"""Progress of many runs at once: one live view on a terminal or in a notebook, a line an event elsewhere."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from types import TracebackType

from rich.console import Group
from rich.table import Table
from rich.text import Text

from icm_annealer.console.live_view import live_view
from icm_annealer.console.progress import duration
from icm_annealer.console.terminal import Terminal
from icm_annealer.scoring.pass_event import PassEvent
from icm_client.text.visible import visible

NUM_SHOWN = 16
"""The most running runs that are shown one by one."""


class ShownRun:
    """One run of the view, from its start to its end. A run's job reports to it."""

    def __init__(self, num_expected: int, on_pass: Callable[[bool], None]):
        self._on_pass = on_pass
        self.num_passes, self.num_expected = 0, num_expected
        self.u: float | None = None

    def __enter__(self) -> ShownRun:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def expect(self, total_steps: float) -> None:
        self.num_expected = round(total_steps)

    def status(self, text: str) -> None:
        """Not shown: there are many runs."""

    def note(self, text: str) -> None:
        """Not shown: what it says of a scorer is shown once for the sweep."""

    def on_pass(self, event: PassEvent) -> None:
        self.passed(event.u, resumed=event.resumed)

    def passed(self, u: float | None, *, resumed: bool) -> None:
        """A pass was answered, or read from the journal; with the U of its labels, if it has one."""
        self.num_passes += 1
        self.u = u if u is not None else self.u
        self._on_pass(resumed)


class SweepProgress:
    """How many runs wait, run, are done and have failed; tokens; the time left by the passes of this process, from the
    first one on."""

    def __init__(self, console: Terminal, title: str, clock: Callable[[], float] = time.monotonic):
        self._console, self._title, self._clock, self._start = console, title, clock, clock()
        self._waiting: dict[str, int] = {}
        self._running: dict[str, ShownRun] = {}
        self._ended: Counter[str] = Counter()
        self._num_before = self._num_made = self._num_tokens = 0
        self._measured_since: float | None = None
        self._status = ""
        self._live = live_view(console, self._render)

    def __enter__(self) -> SweepProgress:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def begin(self, expected: Mapping[str, int], num_before: int = 0) -> None:
        """The runs to make, with about as many passes as each takes (0 where unknown); `num_before` others were done
        before."""
        self._waiting, self._num_before = dict(expected), num_before
        if self._live is None:
            before = f", {num_before:,} done before" if num_before else ""
            self._say(f"{len(expected):,} runs to make{before}")

    def run(self, name: str) -> ShownRun:
        """Shows a run that begins."""
        self._running[name] = shown = ShownRun(self._waiting.pop(name, 0), self._count)
        return shown

    def leave(self, name: str) -> None:
        """A run has failed, and will be tried again."""
        if (shown := self._running.pop(name, None)) is not None:
            self._waiting[name] = shown.num_expected

    def end(self, name: str, how: str, text: str = "") -> None:
        """A run has ended, such as `done` or `failed`; `text` says more."""
        self._running.pop(name, None)
        self._waiting.pop(name, None)
        self._ended[how] += 1
        line = f"{name} {how}" + (f": {text}" if text else "")
        if self._live is None:
            self._say(f"{line}  ({self._counts()})")
        elif how != "done":
            self._console.say(line)

    def tokens(self, num_tokens: int) -> None:
        """All tokens that the runs have computed."""
        self._num_tokens = num_tokens

    def status(self, text: str) -> None:
        """Shows what is waited for, in one line; an empty one clears it."""
        if text and text != self._status and self._live is None:
            self._say(text)
        self._status = text

    def note(self, text: str) -> None:
        """Prints a line that stays."""
        self._console.say(text)

    def _count(self, resumed: bool) -> None:
        if resumed:
            return
        if self._measured_since is None:  # before the first pass a scorer may have started
            self._measured_since = self._clock()
        else:
            self._num_made += 1

    def _say(self, text: str) -> None:
        self._console.say(f"{duration(self._clock() - self._start)}  {text}")

    @property
    def left(self) -> str:
        """`about 3:20 left`; empty until two passes were made, and at the end."""
        shown = (max(run.num_expected - run.num_passes, 0) for run in self._running.values())
        num_left = sum(shown) + sum(self._waiting.values())
        if not num_left or not self._num_made or self._measured_since is None:
            return ""
        return f"about {duration((self._clock() - self._measured_since) / self._num_made * num_left)} left"

    def _counts(self) -> str:
        parts = [
            f"{len(self._waiting):,} waiting",
            f"{len(self._running):,} running",
            f"{self._ended['done'] + self._num_before:,} done",
            *(f"{num:,} {how}" for how, num in self._ended.items() if how != "done"),
            f"{self._num_tokens:,} tokens",
        ]
        return ", ".join([*parts, self.left] if self.left else parts)

    def _render(self) -> Group:
        head = Text(visible(self._title), style="bold")
        head.append(f"  {duration(self._clock() - self._start)}  {self._counts()}", style="not bold")
        parts: list[Text | Table] = [head]
        if self._status:
            parts.append(Text(visible(self._status), style="dim", no_wrap=True, overflow="ellipsis"))
        if self._running:
            table = Table(box=None, padding=(0, 1), header_style="dim")
            for name in ("run", "passes", "U"):
                table.add_column(name, justify="left" if name == "run" else "right")
            for name, run in list(self._running.items())[:NUM_SHOWN]:
                passes = f"{run.num_passes}/{run.num_expected}" if run.num_expected else f"{run.num_passes}"
                table.add_row(visible(name), passes, "-" if run.u is None else f"{run.u:+.3f}")
            parts.append(table)
        return Group(*parts)
