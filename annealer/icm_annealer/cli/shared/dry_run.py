"""`--dry-run`: what a command will cost, shown instead of done. A part of the commands that cost much."""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine
from dataclasses import asdict, dataclass
from typing import Annotated, Any, TypeVar

import typer

from icm_annealer.cli.shared.options import interruptible
from icm_annealer.cli.shared.price import Price
from icm_annealer.console.output import Output
from icm_annealer.console.progress import RunProgress, duration
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


@dataclass(frozen=True)
class DryRun:
    """How a forecast is shown."""

    price: Price
    max_minutes: float | None = None
    """The budget of time, which a rehearsal cannot keep."""

    def show(
        self, output: Output, title: str, named: NamedScorer, work: Work, *, num_times: int = 1, varies: bool = True
    ) -> None:
        """Opens the scorer, makes the forecast of doing `work` `num_times` times and prints it. Raises IcmError."""

        async def measured(progress: RunProgress) -> Forecast:
            async with named.open(progress.status, progress.note) as scorer:
                progress.status("counting tokens, and measuring the scorer's speed")
                return await forecast(scorer, work, num_times=num_times, varies=varies)

        self.show_cost(output, self.found(output, title, measured))

    def found(self, output: Output, title: str, measured: Callable[[RunProgress], Coroutine[Any, Any, _Cost]]) -> _Cost:
        """What `measured` finds, while its progress is shown. Raises its errors."""

        async def work() -> _Cost:
            with RunProgress(output.aside, title, []) as progress:
                return await measured(progress)

        cost: _Cost = interruptible(work(), output)
        return cost

    def show_cost(self, output: Output, cost: Forecast) -> None:
        """Prints a forecast."""
        for line in self.lines(cost):
            output.say(line)
        cut = cost.cut and cost.cut._asdict()
        output.json(
            {
                **asdict(cost),
                "cut": cut,
                "seconds": cost.seconds,
                **self.price.fields(cost.computed_tokens, cost.seconds),
            }
        )

    def lines(self, cost: Forecast) -> list[str]:
        """The forecast, line by line."""
        varies = cost.depends_on_answers
        about = "about " if cost.share < 1 or varies else ""
        lines = [
            "Dry run: nothing was written.",
            f"Tokens: {amount_of(cost)} computed in {about}"
            f"{counted(cost.num_requests, 'request')}; {cost.prompt_tokens:,} in all prompts, most of them from the "
            "prefix cache.",
        ]
        if varies:
            lines.append(
                "How many depends on the model's answers: the least is for answers without any doubt, the most for a "
                "model that finds nothing coherent."
            )
        if cost.share < 1:
            lines.append(f"Only {cost.share:.0%} of the work was counted; the rest is extrapolated.")
        is_cut = cost.num_dropped and not cost.cut
        cut = f"; contexts are cut, up to {cost.num_dropped:,} shots of a pass are left out" if is_cut else ""
        lines.append(
            f"Window: the longest prompt has {cost.longest_prompt:,} of {cost.max_prompt_tokens:,} tokens "
            f"({cost.window_share:.0%}){cut}."
        )
        if cost.cut:
            lines.append(f"Contexts are cut: {cost.cut}.")
        if math.isfinite(cost.seconds):
            is_more = self.max_minutes is not None and cost.seconds > 60 * self.max_minutes
            lines.append(
                f"Time: {amount_of(cost, lambda tokens: _time(tokens / cost.tokens_per_s), about='about ')}, at "
                f"{cost.tokens_per_s:,.0f} tokens a second (measured in {cost.measured_s:.0f} s), without the scorer's "
                "start" + (f"; it will end at its budget of {self.max_minutes:g} minutes." if is_more else ".")
            )
        else:
            lines.append("Time: unknown, since the scorer computed nothing for the requests that were measured.")
        lines += self.price.lines(cost.computed_tokens, cost.prompt_tokens, cost.seconds)
        return lines + (self.price.most(cost.most_tokens, cost.most_tokens / cost.tokens_per_s) if varies else [])


def in_digits(tokens: int) -> str:
    return f"{tokens:,}"


def amount_of(cost: Forecast, shown: Callable[[int], str] = in_digits, about: str = "") -> str:
    """What is `shown` of the computed tokens, with the least and the most where these depend on the answers."""
    about = "about " if cost.share < 1 else about
    if not cost.depends_on_answers:
        return about + shown(cost.computed_tokens)
    least, usual, most = map(shown, (cost.least_tokens, cost.computed_tokens, cost.most_tokens))
    return f"at least {least}, usually about {usual}, at most {most}"


def _time(seconds: float) -> str:
    """`4.2 s`, or `1:15` from a minute on."""
    return f"{seconds:.2g} s" if seconds < 60 else duration(seconds)
