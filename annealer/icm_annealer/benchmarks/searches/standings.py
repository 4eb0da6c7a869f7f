"""Rows summed up: a standing of each search on each task and size, over seeds. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from icm_annealer.benchmarks.runner import Row
from icm_annealer.benchmarks.search_presets import OURS
from icm_annealer.evaluation.intervals import Estimate, median_over_seeds


@dataclass(frozen=True)
class Standing:
    """One search on one task and size: medians over its seeds, with 95 % bootstrap intervals."""

    search: str
    rows: Sequence[Row]
    figures: dict[str, Estimate]
    """By the rows' names; also those of RATIOS: tokens over our `tokens` of the same seed, and the same for each label
    that a search found. Tokens of a search that was stopped before its end are what all of it would cost."""
    num_not_above_ours: int | None
    """Seeds whose U is not above ours; None where ours did not take part."""

    @property
    def is_extrapolated(self) -> bool:
        return any(row.get("extrapolated", 1.0) != 1.0 for row in self.rows)

    def text(self, name: str, form: str = "{:.3f}") -> str:
        """A figure as `0.913 [0.880, 0.950]`, without the interval where there is but one seed."""
        estimate = self.figures.get(name)
        if estimate is None:
            return ""
        value, low, high = (form.format(x) for x in (estimate.value, estimate.low, estimate.high))
        extrapolated = [*RATIOS, *(ratio.name for ratio in RATIOS.values())]
        sign = "≈" if self.is_extrapolated and name in extrapolated else ""
        return sign + (value if len(self.rows) == 1 else f"{value} [{low}, {high}]")


class Ratio(NamedTuple):
    """Names of the figures that compare tokens with ours."""

    name: str
    by_label: str
    """The same for each label. The published search leaves examples unlabelled, for which it pays nothing: in the end
    they are given the likeliest label behind all others."""


RATIOS = {
    "tokens": Ratio("ratio", "label_ratio"),
    "fixed_tokens": Ratio("fixed_ratio", "fixed_label_ratio"),
    "fixed_tokens_cold": Ratio("fixed_cold_ratio", "fixed_cold_label_ratio"),
}
"""By the name of tokens, whatever they are counted by."""


@dataclass(frozen=True)
class Heat:
    """All searches on one task and size."""

    task: str
    num: int
    standings: Sequence[Standing]

    @property
    def title(self) -> str:
        seeds = sorted({row["seed"] for standing in self.standings for row in standing.rows})
        spread = f"medians of {len(seeds)} seeds [95 % interval]" if len(seeds) > 1 else f"seed {seeds[0]}"
        return f"{self.task}, {self.num} examples, {spread}"


def heats(rows: Sequence[Row]) -> list[Heat]:
    """The rows' tasks and sizes in their order, searches in theirs."""
    cells: dict[tuple[str, int], dict[str, list[Row]]] = {}
    for row in rows:
        cells.setdefault((row["task"], row["n"]), {}).setdefault(row["search"], []).append(row)
    return [
        Heat(task, num, [_standing(search, mine, cell.get(OURS, [])) for search, mine in cell.items()])
        for (task, num), cell in cells.items()
    ]


def whole_tokens(row: Row, name: str = "tokens") -> float:
    """Tokens of the whole search, extrapolated where it was stopped before its end."""
    return float(row[name]) * float(row.get("extrapolated", 1.0))


def _standing(search: str, rows: Sequence[Row], ours: Sequence[Row]) -> Standing:
    our = {row["seed"]: row for row in ours}
    both = [(row, our[row["seed"]]) for row in rows if row["seed"] in our]
    figures: dict[str, list[float]] = {
        name: [row[name] for row in rows if name in row]
        for name in (
            *("computed_tokens", "passes", "seconds", "u", "u_margin"),
            *("label_accuracy", "test_accuracy", "test_accuracy_calibrated"),
        )
    }
    for name, ratio in RATIOS.items():
        figures[name] = [whole_tokens(row, name) for row in rows if name in row]
        figures[ratio.name] = [whole_tokens(row, name) / mine["tokens"] for row, mine in both if name in row]
        figures[ratio.by_label] = [
            (row[name] / row["num_labelled"]) / (mine["tokens"] / mine["n"])
            for row, mine in both
            if name in row and "num_labelled" in row
        ]
    return Standing(
        search,
        rows,
        {name: median_over_seeds(values) for name, values in figures.items() if values},
        sum(row["u"] <= mine["u"] for row, mine in both) if both and search != OURS else None,
    )
