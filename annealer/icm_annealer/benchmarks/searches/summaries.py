"""Summaries over seeds of each search's costs and results, by task and size. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from icm_annealer.benchmarks.gaps import GapSummary
from icm_annealer.benchmarks.search_presets import REFERENCE
from icm_annealer.benchmarks.searches.rows import SearchRow
from icm_annealer.core.estimate import Estimate
from icm_annealer.evaluation.intervals import median_over_seeds, seeds_interval

Form = Callable[[float], str]
"""How a number is written."""


class Ratio(NamedTuple):
    """Names of the figures that compare tokens with those of the reference search."""

    name: str
    by_label: str
    """The same per label. The published search leaves some examples unlabelled at no cost; at the end they get the
    likeliest label given all others."""


RATIOS = {
    "tokens": Ratio("ratio", "label_ratio"),
    "fixed_tokens": Ratio("fixed_ratio", "fixed_label_ratio"),
    "fixed_tokens_cold": Ratio("fixed_cold_ratio", "fixed_cold_label_ratio"),
}
"""By the name of tokens, whatever they are counted by."""


@dataclass(frozen=True)
class SearchSummary:
    """One search on one task and size: medians over its seeds, with bootstrap intervals."""

    search: str
    rows: Sequence[SearchRow]
    figures: dict[str, Estimate]
    """By the rows' names; also those of RATIOS: tokens over the reference search's `tokens` of the same seed, and the
    same for each label that a search found. Tokens of a search that was ended early are what all of it would cost."""
    num_not_above_reference: int | None
    """Seeds whose U is not above that of the reference search; None where that did not take part."""
    weighed: GapSummary

    @property
    def is_extrapolated(self) -> bool:
        return any(row.is_extrapolated for row in self.rows)

    def text(self, name: str, form: Form, bound_form: Form | None = None) -> str:
        """A figure as `0.913 [0.880, 0.950]`, without the interval where there is but one seed."""
        estimate = self.figures.get(name)
        if estimate is None:
            return ""
        value, (low, high) = form(estimate.value), map(bound_form or form, (estimate.low, estimate.high))
        extrapolated = [*RATIOS, *(ratio.name for ratio in RATIOS.values())]
        sign = "≈" if self.is_extrapolated and name in extrapolated else ""
        return sign + (value if len(self.rows) == 1 else f"{value} [{low}, {high}]")


@dataclass(frozen=True)
class TaskComparison:
    """All searches on one task and size."""

    task: str
    num: int
    searches: Sequence[SearchSummary]

    @property
    def title(self) -> str:
        seeds = sorted({row.seed for search in self.searches for row in search.rows})
        spread = (
            f"medians of {len(seeds)} seeds [{seeds_interval(len(seeds))}]" if len(seeds) > 1 else f"seed {seeds[0]}"
        )
        return f"{self.task}, {self.num} examples, {spread}"


def task_comparisons(rows: Sequence[SearchRow]) -> list[TaskComparison]:
    """The rows' tasks and sizes in their order, searches in theirs."""
    cells: dict[tuple[str, int], dict[str, list[SearchRow]]] = {}
    for row in rows:
        cells.setdefault((row.task, row.n), {}).setdefault(row.search, []).append(row)
    return [
        TaskComparison(task, num, [_summary(search, own, cell.get(REFERENCE.name, [])) for search, own in cell.items()])
        for (task, num), cell in cells.items()
    ]


def _summary(search: str, rows: Sequence[SearchRow], reference: Sequence[SearchRow]) -> SearchSummary:
    of_seed = {row.seed: row for row in reference}
    both = [(row, of_seed[row.seed]) for row in rows if row.seed in of_seed]
    figures: dict[str, list[float]] = {
        name: [getattr(row, name) for row in rows if getattr(row, name) is not None]
        for name in (
            *("computed_tokens", "reads_per_example", "seconds", "u"),
            *("label_accuracy", "test_accuracy", "test_accuracy_calibrated"),
        )
    }
    for name, ratio in RATIOS.items():
        counted = [(row, first) for row, first in both if getattr(row, name) is not None]
        figures[name] = [row.whole(name) for row in rows if getattr(row, name) is not None]
        figures[ratio.name] = [row.whole(name) / first.whole("tokens") for row, first in counted]
        figures[ratio.by_label] = [
            (getattr(row, name) / row.num_labelled) / (first.whole("tokens") / first.n)
            for row, first in counted
            if row.num_labelled
        ]
    return SearchSummary(
        search,
        rows,
        {name: median_over_seeds(values) for name, values in figures.items() if values},
        sum(row.u <= first.u for row, first in both) if both and search != REFERENCE.name else None,
        GapSummary.of([row.weighed for row in rows]),
    )
