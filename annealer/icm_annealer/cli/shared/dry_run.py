"""`--dry-run`: what a command will cost, shown instead of done. A part of the commands that cost much."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any, TypeVar

import typer

from icm_annealer.cli.shared.options import finite, interruptible
from icm_annealer.console.progress import RunProgress, duration
from icm_annealer.console.terminal import Terminal
from icm_annealer.scorers.registry import NamedScorer
from icm_annealer.scoring.forecast import MEASURING_S, Forecast, Work, forecast
from icm_client.text.counts import counted

_Cost = TypeVar("_Cost")

DryRunOption = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help=f"Only tell what it will cost: counts tokens, and measures the scorer for {MEASURING_S:.0f} seconds.",
    ),
]
PriceOption = Annotated[
    float | None,
    typer.Option(
        "--price",
        metavar="PER_MILLION_TOKENS",
        min=0.0,
        callback=finite,
        help="With --dry-run: the price of a million tokens, in any currency.",
    ),
]
HourPriceOption = Annotated[
    float | None,
    typer.Option(
        "--price-per-hour",
        metavar="PRICE",
        min=0.0,
        callback=finite,
        help="With --dry-run: the price of an hour of the scorer.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="With --dry-run: print JSON.")]


@dataclass(frozen=True)
class DryRun:
    """How a forecast is shown."""

    per_million: float | None = None
    per_hour: float | None = None
    is_json: bool = False
    max_minutes: float | None = None
    """The budget of time, which a rehearsal cannot keep."""

    def show(self, title: str, named: NamedScorer, work: Work, *, num_times: int = 1, varies: bool = True) -> None:
        """Opens the scorer, makes the forecast of doing `work` `num_times` times and prints it. Raises IcmError."""

        async def measured(progress: RunProgress) -> Forecast:
            async with named.open(progress.status, progress.note) as scorer:
                progress.status("counting tokens, and measuring the scorer's speed")
                return await forecast(scorer, work, num_times=num_times, varies=varies)

        self.show_cost(self.found(title, measured))

    def found(self, title: str, measured: Callable[[RunProgress], Coroutine[Any, Any, _Cost]]) -> _Cost:
        """What `measured` finds, while its progress is shown. Raises its errors."""
        console = Terminal(stderr=True)

        async def work() -> _Cost:
            with RunProgress(console, title, []) as progress:
                return await measured(progress)

        cost: _Cost = interruptible(work(), console)
        return cost

    def show_cost(self, cost: Forecast) -> None:
        """Prints a forecast."""
        out = Terminal()
        if self.is_json:
            out.say(json.dumps(self._fields(cost)))
        else:
            for line in self.lines(cost):
                out.say(line)

    def lines(self, cost: Forecast) -> list[str]:
        """The forecast, line by line."""
        about = "about " if cost.share < 1 else ""
        lines = [
            "Dry run: nothing was written.",
            f"Tokens: {about}{cost.computed_tokens:,} computed in {counted(cost.num_requests, 'request')}; "
            f"{cost.prompt_tokens:,} in all prompts, most of them from the prefix cache.",
        ]
        if cost.most_tokens > cost.computed_tokens:
            lines.append(f"At most about {cost.most_tokens:,}, if the model finds nothing coherent.")
        if cost.share < 1:
            lines.append(f"Only {cost.share:.0%} of the work was counted; the rest is extrapolated.")
        cut = f"; contexts are cut, up to {cost.num_dropped:,} shots of a pass are left out" if cost.num_dropped else ""
        lines.append(
            f"Window: the longest prompt has {cost.longest_prompt:,} of {cost.max_prompt_tokens:,} tokens "
            f"({cost.window_share:.0%}){cut}."
        )
        if math.isfinite(cost.seconds):
            is_more = self.max_minutes is not None and cost.seconds > 60 * self.max_minutes
            lines.append(
                f"Time: about {_time(cost.seconds)} at {cost.tokens_per_s:,.0f} tokens a second (measured in "
                f"{cost.measured_s:.0f} s), without the scorer's start"
                + (f"; it will end at its budget of {self.max_minutes:g} minutes." if is_more else ".")
            )
        else:
            lines.append("Time: unknown, since the scorer computed nothing for the requests that were measured.")
        return lines + self._price_lines(cost)

    def _price_lines(self, cost: Forecast) -> list[str]:
        lines = []
        if self.per_million is not None:
            computed, whole = (self.per_million * num / 1e6 for num in (cost.computed_tokens, cost.prompt_tokens))
            lines.append(f"Price: {_money(computed)} by computed tokens; {_money(whole)} if cached ones cost as much.")
        if self.per_hour is not None and math.isfinite(cost.seconds):
            lines.append(f"Price: {_money(self.per_hour * cost.seconds / 3600)} by time.")
        return lines

    def _fields(self, cost: Forecast) -> Mapping[str, float | None]:
        fields = {**asdict(cost), "seconds": cost.seconds}
        if self.per_million is not None:
            fields["price"] = self.per_million * cost.computed_tokens / 1e6
        if self.per_hour is not None:
            fields["price_of_time"] = self.per_hour * cost.seconds / 3600
        return {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in fields.items()
        }


def _time(seconds: float) -> str:
    """`4.2 s`, or `1:15` from a minute on."""
    return f"{seconds:.2g} s" if seconds < 60 else duration(seconds)


def _money(amount: float) -> str:
    """With two digits at least, and two significant ones."""
    return f"{amount:,.2f}" if amount >= 0.1 or not amount else f"{amount:.2g}"
