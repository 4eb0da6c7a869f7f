"""What tokens and time cost in money: before the work, from a forecast, and after it, from what was spent."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import typer

from icm_annealer.cli.shared.bounds import MAX_AMOUNT
from icm_annealer.cli.shared.options import finite

PriceOption = Annotated[
    float | None,
    typer.Option(
        "--price",
        metavar="PER_MILLION_TOKENS",
        min=0.0,
        max=MAX_AMOUNT,
        callback=finite,
        help="The price of a million tokens, in any currency: also print what the work costs.",
    ),
]
HourPriceOption = Annotated[
    float | None,
    typer.Option(
        "--price-per-hour",
        metavar="PRICE",
        min=0.0,
        max=MAX_AMOUNT,
        callback=finite,
        help="The price of an hour of the scorer: also print what the work costs.",
    ),
]


@dataclass(frozen=True)
class Price:
    """Prices, in any currency; None is not stated."""

    per_million: float | None = None
    per_hour: float | None = None

    def lines(self, computed_tokens: int, prompt_tokens: int, seconds: float) -> list[str]:
        """What so many tokens, computed and in all prompts, and so many seconds cost. Unknown seconds are NaN."""
        found, whole = (self.fields(num, seconds) for num in (computed_tokens, prompt_tokens))
        lines = []
        if "price" in found:
            price, most = _money(found["price"]), _money(whole["price"])
            lines.append(f"Price: {price} by computed tokens; {most} if cached ones cost as much.")
        if math.isfinite(of_time := found.get("price_of_time", math.nan)):
            lines.append(f"Price: {_money(of_time)} by time.")
        return lines

    def most(self, computed_tokens: int, seconds: float) -> list[str]:
        """What it costs at most, if that many tokens and seconds are the most."""
        found = self.fields(computed_tokens, seconds)
        amounts = [f"{_money(found['price'])} by computed tokens"] if "price" in found else []
        if math.isfinite(of_time := found.get("price_of_time", math.nan)):
            amounts.append(f"{_money(of_time)} by time")
        return [f"At most: {', '.join(amounts)}."] if amounts else []

    def fields(self, computed_tokens: int, seconds: float) -> dict[str, float]:
        """The same for JSON: `price` by computed tokens, `price_of_time`; each only if its price is stated."""
        found = {}
        if self.per_million is not None:
            found["price"] = self.per_million * computed_tokens / 1e6
        if self.per_hour is not None:
            found["price_of_time"] = self.per_hour * seconds / 3600
        return found


def _money(amount: float) -> str:
    """With two digits at least, and two significant ones."""
    return f"{amount:,.2f}" if amount >= 0.1 or not amount else f"{amount:.2g}"
