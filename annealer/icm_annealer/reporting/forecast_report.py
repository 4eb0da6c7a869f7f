"""What a command will cost, in lines of text or as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from icm_annealer.console.progress import duration
from icm_annealer.scoring.forecast import Forecast
from icm_client.text.counts import counted


@dataclass(frozen=True)
class ForecastReport:
    """How a forecast is shown."""

    per_million: float | None = None
    per_hour: float | None = None
    is_json: bool = False
    max_minutes: float | None = None
    """The budget of time, which a rehearsal cannot keep."""

    def text(self, cost: Forecast) -> list[str]:
        """The forecast, line by line; one line of JSON if that was asked for."""
        return [json.dumps(self._fields(cost))] if self.is_json else self._lines(cost)

    def _lines(self, cost: Forecast) -> list[str]:
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
