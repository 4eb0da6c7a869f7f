"""Label rates as a task states them: the share of some or all labels, as a number or a range."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import BeforeValidator

from icm_annealer.core.arrays import Ints
from icm_annealer.core.label_balance import LabelRates
from icm_client.contract.errors import RequestError

TOLERANCE = 1e-6
NO_RATES = "none"
"""Given instead of rates, it discards those of the task."""
ONE = re.compile(r"(?P<label>.+)=(?P<low>\d*\.?\d+)(?:-(?P<high>\d*\.?\d+))?")


def _range(value: Any) -> tuple[float, float]:
    """A number as a range of two equal ends."""
    ends: list[Any] = list(value) if isinstance(value, list | tuple) else [value, value]
    if len(ends) != 2 or any(isinstance(end, bool) or not isinstance(end, int | float) for end in ends):
        raise ValueError("a share, or a list of the least and the greatest share, is needed")
    low, high = map(float, ends)
    if not 0 <= low <= high <= 1:
        raise ValueError(f"{_shown((low, high))} is not between 0 and 1, the least share first")
    return low, high


Range = Annotated[tuple[float, float], BeforeValidator(_range)]
Rates = dict[str, Range]
"""Label name -> its least and greatest share. Labels that are not named share the rest freely."""


def read_rates(texts: Sequence[str]) -> dict[str, Any]:
    """Rates as written on a command line: `spam=0.13`, `spam=0.1-0.2`, several parted by commas; `none` states none.

    Raises RequestError for another form, or a label that is named twice. Shares are checked by the task.
    """
    rates: dict[str, Any] = {}
    for part in (part.strip() for text in texts for part in text.split(",")):
        if part == NO_RATES and len(texts) == 1:
            continue
        found = ONE.fullmatch(part)
        if found is None:
            raise RequestError(
                f"--rates {part!r}: write LABEL=SHARE or LABEL=LEAST-GREATEST, such as spam=0.13 or spam=0.1-0.2"
            )
        if found["label"] in rates:
            raise RequestError(f"--rates: the label {found['label']!r} is named twice")
        low = float(found["low"])
        rates[found["label"]] = low if found["high"] is None else [low, float(found["high"])]
    return rates


def check_rates(rates: Rates, names: Sequence[str]) -> None:
    """Raises ValueError, in one line, if not all names are labels, or if no label shares are within all ranges."""
    for label in rates:
        if label not in names:
            raise ValueError(f"rates: {label!r} is none of the task's labels ({', '.join(names)})")
    low, high = (sum(rates.get(name, (0.0, 1.0))[end] for name in names) for end in (0, 1))
    if low > 1 + TOLERANCE:
        raise ValueError(f"rates: the least shares add up to {low:.4g}, which is more than 1")
    if high < 1 - TOLERANCE:
        raise ValueError(f"rates: the greatest shares add up to {high:.4g}, which is less than 1")


def label_rates_of(rates: Rates, names: Sequence[str]) -> LabelRates | None:
    """The rates by label number; None if there are none."""
    if not rates:
        return None
    low, high = (np.array([rates.get(name, (0.0, 1.0))[end] for name in names]) for end in (0, 1))
    return LabelRates(low, high)


def check_attainable(rates: Rates, names: Sequence[str], known: Ints) -> None:
    """Raises RequestError if no labels of these examples have the rates, to the nearest example. `known` [example]
    holds known label numbers, -1 elsewhere."""
    num = len(known)
    for label, (low, high) in rates.items():
        number = names.index(label)
        if low > 0 and round(low * num) < 1:
            raise RequestError(
                f"rates: {label!r} at {low:.4g} of {num:,} examples is {low * num:.2g} of an example: "
                "label more examples, or state a range from 0",
                code="bad_rates",
            )
        is_it = int((known == number).sum())
        may_be = is_it + int((known < 0).sum())
        if is_it > np.ceil(high * num) or may_be < np.floor(low * num):
            raise RequestError(
                f"rates: {label!r} at {_shown((low, high))} of {num:,} examples, but by the known labels "
                f"between {is_it:,} and {may_be:,} have it: correct the rate or the known labels",
                code="bad_rates",
            )


def rates_text(rates: Mapping[str, tuple[float, float]]) -> str:
    """`spam 0.13, fine 0.5 to 0.9`."""
    return ", ".join(f"{label} {_shown(ends)}" for label, ends in rates.items())


def _shown(ends: tuple[float, float]) -> str:
    low, high = ends
    return f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"
