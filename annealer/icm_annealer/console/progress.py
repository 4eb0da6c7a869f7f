"""Progress of a search: a live panel on a terminal or in a notebook, lines elsewhere and on a dumb terminal."""

from __future__ import annotations

import time
from collections import deque
from types import TracebackType

from rich.console import Group
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from icm_annealer.console.live_view import live_view
from icm_annealer.console.terminal import Terminal
from icm_annealer.scoring.pass_event import PassEvent
from icm_annealer.scoring.passes import PassRequest
from icm_client.contract.wire import Usage
from icm_client.text.visible import visible

NUM_ROWS = 9
LEGEND = (
    "U: coherence of the labels; P: how well they predict each other; I: contradictions; T: temperature, - if cold; "
    "tokens computed by the model, and cached"
)


def duration(seconds: float) -> str:
    """`75` -> `1:15`."""
    minutes, rest = divmod(round(max(seconds, 0.0)), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"


class RunProgress:
    """Shows a job of known or unknown length.

    The mean time per step gives the time left: of the steps of this process, from the end of the first one on, since
    before it a scorer may have started. What is longer than expected shows no time left.
    """

    def __init__(self, console: Terminal, title: str, label_names: list[str]):
        self._console, self._names = console, label_names
        self._bar = Progress(
            TextColumn("{task.description}", style="bold", markup=False),
            BarColumn(),
            TextColumn("{task.fields[steps]}", markup=False),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}", markup=False),
            console=console,
        )
        self._task: TaskID = self._bar.add_task(visible(title), total=None, steps="", left="")
        self._events: deque[PassEvent] = deque(maxlen=NUM_ROWS)  # each holds arrays as long as the data
        self._usage = Usage()
        self._done, self._total = 0.0, 0.0
        self._known_s = 0.0
        self._status = ""
        self._start = time.monotonic()
        self._first: tuple[float, float] | None = None
        """When the time of steps began to be measured, and how many were done then."""
        self._live = live_view(console, self._render)

    def __enter__(self) -> RunProgress:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            if kind is None:  # a search may need fewer passes than expected, or more
                self._total, self._known_s = self._done, 0.0
            self._live.stop()

    def expect(self, total_steps: float) -> None:
        """Sets the number of steps of the whole job; a pass is one step."""
        self._total = total_steps
        self._update()

    def guess(self, seconds: float) -> None:
        """Sets the time left that is shown until something was measured."""
        self._known_s = seconds
        self._update()

    def status(self, text: str) -> None:
        """Shows what is happening now, in one line."""
        if text != self._status and self._live is None:
            left = self._left()
            self._console.say(f"{duration(time.monotonic() - self._start)}  {text}" + (f"  {left}" if left else ""))
        self._status = text
        self._update()

    def note(self, text: str) -> None:
        """Prints a line that stays."""
        self._console.say(text)

    def step(self, steps: float = 1.0, *, is_measured: bool = True) -> None:
        """Counts finished steps; those that took no time of their own, as of a journal, are not measured."""
        self._done += steps
        if self._first is None or not is_measured:
            self._first = (time.monotonic(), self._done)
        self._update()

    def on_pass(self, event: PassEvent) -> None:
        """Counts a pass that was answered, and shows it."""
        if self._live is None and not self._events:
            self._console.say(LEGEND)
        self._events.append(event)
        if not event.resumed:
            self._usage = self._usage + event.answer.usage
        self.step(is_measured=not event.resumed)
        if self._live is None:
            left = self._left()
            self._console.say(
                f"{duration(time.monotonic() - self._start)}  {_line(event, self._names)}"
                + (f"  {left}" if left else "")
            )

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._start

    def _left(self) -> str:
        now = time.monotonic()
        if self._first is not None and self._done > self._first[1]:
            since, num = self._first
            left = (now - since) / (self._done - num) * (self._total - self._done)
        else:
            left = self._known_s - self.elapsed
        return f"about {duration(left)} left" if left >= 1.0 else ""

    def _update(self) -> None:
        is_known = self._total > 0 and self._done <= self._total  # it may take more than expected
        steps = f"{self._done:.0f}/{self._total:.0f}" if is_known else f"{self._done:.0f}" if self._done else ""
        total = self._total if is_known else None
        self._bar.update(self._task, completed=self._done, total=total, steps=steps, left=self._left())

    def _render(self) -> Group:
        self._update()
        parts: list[Progress | Table | Text] = [self._bar]
        if self._status:
            parts.append(Text(visible(self._status), style="dim", no_wrap=True, overflow="ellipsis"))
        if self._events:
            parts += [self._table(), Text(LEGEND, style="dim", no_wrap=True, overflow="ellipsis")]
        return Group(*parts)

    def _table(self) -> Table:
        table = Table(box=None, padding=(0, 1), header_style="dim")
        for name in ("pass", "what", "U", "P", "I", "T", "label rates", "computed", "cached"):
            table.add_column(name, justify="left" if name in ("what", "label rates") else "right")
        for event in list(self._events):  # another thread may add passes while this one draws
            usage = event.answer.usage
            table.add_row(
                str(event.number),
                event.request.purpose,
                _number(event.u),
                _number(event.predictability),
                str(event.num_contradictions),
                _temperature(event.request),
                _rates(event, self._names),
                f"{usage.computed_tokens:,}",
                f"{usage.cached_tokens:,}",
            )
        table.add_row(
            "", "all", "", "", "", "", "", f"{self._usage.computed_tokens:,}", f"{self._usage.cached_tokens:,}"
        )
        return table


def _line(event: PassEvent, names: list[str]) -> str:
    usage, request = event.answer.usage, event.request
    return (
        f"pass {event.number} ({request.purpose}{', from the journal' if event.resumed else ''})"
        f"  U {_number(event.u)}  P {_number(event.predictability)}  I {event.num_contradictions}"
        f"  T {_temperature(request)}  {_rates(event, names)}"
        f"  {usage.computed_tokens:,} tokens computed, {usage.cached_tokens:,} cached"
    )


def _temperature(request: PassRequest) -> str:
    return "-" if request.temperature is None else f"{request.temperature:.2f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:+.3f}"


def _rates(event: PassEvent, names: list[str]) -> str:
    pairs = list(zip(names, event.label_rates, strict=False))
    return " ".join(f"{visible(name)} {rate:.0%}" for name, rate in pairs[:4]) + (" ..." if len(pairs) > 4 else "")
