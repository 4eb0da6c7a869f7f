"""From rows to figures: accuracies with intervals, and whether claims hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from icm_annealer.benchmarks.gaps import GapSummary
from icm_annealer.benchmarks.results_file import as_json
from icm_annealer.core.estimate import Estimate
from icm_annealer.evaluation.intervals import wilson
from icm_lab.reproduce.claims import MATCH, Claim, Figure, MethodBar
from icm_lab.reproduce.measures import MEASURES
from icm_lab.reproduce.methods import METHODS
from icm_lab.reproduce.rows import ReproduceRow

RESAMPLES = 4_000


@dataclass(frozen=True)
class Verdict:
    """A claim with its measured values."""

    claim: Claim
    first: Estimate
    second: Estimate
    holds: bool

    def to_dict(self) -> dict[str, Any]:
        """The entry of a claim in figures.json."""
        return {
            "claim": str(self.claim),
            "first": self.first.to_dict(),
            "second": self.second.to_dict(),
            "holds": self.holds,
        }


def estimate(rows: Sequence[ReproduceRow]) -> Estimate:
    """The mean over seeds. Its interval is the wider of two: seeds and, within them, examples drawn anew (bootstrap),
    and Wilson's for all seeds' examples together, which does not vanish where all are right."""
    right, num = np.array([row.right for row in rows]), np.array([float(row.num_counted) for row in rows])
    if not len(right):
        return Estimate(float("nan"), 0.0, 1.0)
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(right), size=(RESAMPLES, len(right)))
    means = (rng.binomial(num.astype(int)[drawn], (right / num)[drawn]) / num[drawn]).mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    pooled = wilson(float(right.sum()), int(num.sum()))
    mean = float((right / num).mean())
    return Estimate(mean, max(0.0, min(mean, low, pooled.low)), min(1.0, max(mean, high, pooled.high)))


def judge(claim: Claim, rows: Sequence[ReproduceRow]) -> Verdict:
    """`higher` holds if the intervals do not overlap; `matches` if the values lie within MATCH, or
    within twice MATCH and the intervals overlap: two that are both wide match nothing."""
    first = estimate(rows_of(claim.first, rows))
    second = (
        estimate(rows_of(claim.second, rows))
        if isinstance(claim.second, MethodBar)
        else Estimate(claim.second, claim.second, claim.second)
    )
    if claim.relation == "higher":
        holds = first.low > second.high
    else:
        overlap = first.low <= second.high and second.low <= first.high
        distance = abs(first.value - second.value)
        holds = distance <= MATCH or (overlap and distance <= 2 * MATCH)
    return Verdict(claim, first, second, bool(holds))


def rows_of(bar: MethodBar, rows: Sequence[ReproduceRow]) -> list[ReproduceRow]:
    """The rows of one bar, by seed."""
    of_bar = [row for row in rows if MethodBar(row.model, row.task, row.method, row.measure) == bar]
    return sorted(of_bar, key=lambda row: row.seed)


def figure_found(figure: Figure, rows: Sequence[ReproduceRow]) -> dict[str, Any]:
    """The entry of a figure in figures.json."""
    verdicts = [judge(claim, rows) for claim in figure.claims]
    return {
        "figure": figure.name,
        "title": figure.title,
        "paper": figure.paper,
        "measure": MEASURES[figure.bars[0].measure].title,
        "holds": all(verdict.holds for verdict in verdicts),
        "claims": [verdict.to_dict() for verdict in verdicts],
        "bars": [_bar(bar, rows_of(bar, rows)) for bar in figure.bars],
    }


def _bar(bar: MethodBar, rows: Sequence[ReproduceRow]) -> dict[str, Any]:
    return {
        "model": bar.model,
        "task": bar.task,
        "method": bar.method,
        "measure": bar.measure,
        "title": bar.title,
        **estimate(rows).to_dict(),
        "seeds": [row.right / row.num_counted for row in rows],
        "collapsed": sum(row.collapsed for row in rows),
        "weighed": _weighed(rows),
    }


def searches_found(rows: Sequence[ReproduceRow]) -> list[dict[str, Any]]:
    """The table of searches, by task and model: reads an example, and U beside that of the gold labels."""
    kinds: dict[tuple[str, str, str], dict[int, ReproduceRow]] = {}
    for row in rows:
        if row.passes and not MEASURES[row.measure].trains:
            kinds.setdefault((row.model, row.task, row.method), {})[row.seed] = row
    table = []
    for (model, task, method), by_seed in kinds.items():
        own = [by_seed[seed] for seed in sorted(by_seed)]
        passes = float(np.mean([row.passes for row in own]))
        title = METHODS[method].title
        table.append(
            {"model": model, "task": task, "method": method, "title": title, "passes": passes, "weighed": _weighed(own)}
        )
    return table


def _weighed(rows: Sequence[ReproduceRow]) -> dict[str, Any] | None:
    """U and the search gap over the seeds; None if a row's labels do not cover all examples."""
    known = [row.weighed for row in rows if row.weighed]
    return as_json(GapSummary.of(known)) if known and len(known) == len(rows) else None
