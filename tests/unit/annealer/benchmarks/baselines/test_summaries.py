"""Summaries of rows over seeds."""

from __future__ import annotations

import io
import itertools
from typing import Any

import numpy as np
import pytest

from icm_annealer.benchmarks.baselines.methods import METHODS, Offer, chosen
from icm_annealer.benchmarks.baselines.page import baseline_plots
from icm_annealer.benchmarks.baselines.rows import BaselineRow
from icm_annealer.benchmarks.baselines.summaries import BaselinesTable, MethodSummary, method_summaries
from icm_annealer.benchmarks.baselines.tables import format_estimate, format_gap, format_tokens, notes, print_methods
from icm_annealer.benchmarks.weighing import OrderUs, Weighed
from icm_annealer.console.terminal import Terminal
from icm_annealer.core.estimate import Estimate
from icm_annealer.data.task import Task
from icm_annealer.evaluation.intervals import median_over_seeds
from icm_annealer.evaluation.metrics import FIGURES
from icm_client import RequestError

PLAIN = Task(name="t", template="{text}", labels={"yes": " yes", "no": " no"})
RULED = Task.model_validate({**PLAIN.model_dump(), "group": "pair", "rules": [{"kind": "mirrored"}]})


def row(method: str, seed: int, right: list[int], units: list[int] | None = None, **more: Any) -> BaselineRow:
    figure = Estimate(float(np.mean(right)), 0.0, 1.0)
    text = " ".join(map(str, right))
    fields = {
        "task": "t",
        "n": len(right),
        "method": method,
        "seed": seed,
        "labels": text,
        "label_rates": [0.5, 0.5],
        "test_computed_tokens": 0,
        "num_dropped": 0,
        "tokens": 1000 * (seed + 1),
        "label_accuracy": figure,
        "figures": {kind: dict.fromkeys(FIGURES, figure) for kind in ("raw", "calibrated")},
        "right": {"raw": text, "calibrated": text},
        "test_units": " ".join(map(str, units or range(len(right)))),
        **more,
    }
    return BaselineRow.model_validate(fields)


def by_name(rows: list[BaselineRow]) -> dict[str, MethodSummary]:
    return {summary.method.name: summary for summary in method_summaries(rows)}


def test_the_gap_of_one_seed_is_paired_over_test_examples() -> None:
    zero, gold = [1] * 40 + [0] * 60, [1] * 100
    found = by_name([row("gold", 0, gold), row("icm", 0, [1] * 85 + [0] * 15), row("zero_shot", 0, zero)])
    assert list(found) == ["zero_shot", "icm", "gold"]
    gap = found["icm"].gap["raw"]
    assert gap.value == pytest.approx(0.75)
    assert 0.6 < gap.low < 0.75 < gap.high < 0.9
    assert found["gold"].gap == found["zero_shot"].gap == {}
    # Of examples that are drawn in tens, less is known.
    units = [k % 10 for k in range(100)]
    same = by_name(
        [row("gold", 0, gold, units), row("icm", 0, [1] * 85 + [0] * 15, units), row("zero_shot", 0, zero, units)]
    )
    assert same["icm"].gap["raw"].value == gap.value
    sorted_units = [k // 10 for k in range(100)]
    tied = [
        row(name, 0, right, sorted_units)
        for name, right in (("gold", gold), ("icm", [1] * 85 + [0] * 15), ("zero_shot", zero))
    ]
    wider = by_name(tied)["icm"].gap["raw"]
    assert wider.high - wider.low > 1.5 * (gap.high - gap.low)


def test_figures_of_several_seeds_are_medians() -> None:
    shares = (60, 80, 90)
    rows = [row("zero_shot", seed, [1] * 50 + [0] * 50) for seed in range(3)]
    rows += [row("icm", seed, [1] * share + [0] * (100 - share)) for seed, share in enumerate(shares)]
    rows += [row("gold", seed, [1] * 90 + [0] * 10) for seed in range(3)]
    icm = by_name(list(reversed(rows)))["icm"]
    assert icm.figures["raw"]["accuracy"] == median_over_seeds([0.6, 0.8, 0.9])
    assert icm.seeds("raw") == [0.6, 0.8, 0.9]
    assert icm.gap["raw"].value == pytest.approx(0.75)
    assert icm.tokens.value == 2000


def test_gold_that_is_no_better_than_nothing_makes_no_gap() -> None:
    found = by_name([row(name, 0, [1, 0, 1, 0]) for name in ("zero_shot", "icm", "gold")])
    assert format_gap(found["icm"], "raw") == "-"
    assert format_gap(found["gold"], "raw") == ""


def test_cells_are_short() -> None:
    assert format_estimate(Estimate(0.9654, 0.931, 0.982)) == "0.965 [0.93, 0.98]"
    assert format_estimate(Estimate(0.5, float("nan"), float("nan"))) == "0.500"
    assert format_estimate(Estimate(float("nan"), 0, 1)) == "-"
    (summary,) = method_summaries([row("growing", 4, [1, 0], is_stopped=True)])
    assert format_tokens(summary) == "5,000*"


@pytest.mark.parametrize("num_seeds", [1, 3])
def test_the_tables_of_labels_and_accuracies_fit_eighty_columns(num_seeds: int) -> None:
    """Nothing is folded or cut: a wider terminal shows the same."""
    rng = np.random.default_rng(0)
    rows = []
    for name, seed in itertools.product(METHODS, range(num_seeds)):
        found, gold = (OrderUs((-rng.random(3)).tolist(), [0.0]) for _ in range(2))
        weighed = Weighed.of(found, gold, found).model_dump() if name != "human" else None
        rows.append(row(name, seed, rng.integers(2, size=30).tolist(), tokens=123_456, weighed=weighed))
    shown = []
    for width in (80, 1000):
        table = BaselinesTable(
            **{"task": "t", "title": "", "num_examples": 30, "num_test": 30, "seeds": list(range(num_seeds))},
            **{"intervals": "95 %", "model": {"name": "m"}, "methods": {}},
        )
        printed = io.StringIO()
        print_methods(Terminal(file=printed, width=width), table, method_summaries(rows))
        # The other tables have a heading of two lines.
        tables = printed.getvalue().split("balanced")[0].rpartition("\n")[0]
        shown.append([" ".join(line.split()) for line in tables.splitlines()])
    assert shown[0] == shown[1]
    assert all("\n".join(shown[0]).count(method.title) >= 2 for method in METHODS.values())


@pytest.mark.parametrize("name", ["icm", "noise"])
def test_notes_are_of_what_is_shown(name: str) -> None:
    table = BaselinesTable.model_construct(num_left_out=0, num_known=None, stated_rates=None)
    said = "\n".join(notes(table, method_summaries([row(name, 0, [1, 0])])))
    assert (METHODS["noise"].title in said) == (name == "noise")


@pytest.mark.parametrize("human", [False, True])
def test_four_methods_are_plotted_alone_as_well(human: bool) -> None:
    names = ["zero_shot", "random_few_shot", "growing", "icm", *(["human"] if human else []), "gold"]
    found = method_summaries([row(name, seed, [1] * 8 + [0] * 2) for name in names for seed in range(2)])
    plots = baseline_plots(found, 0.5)
    assert {plot.interval for plot in plots.values()} == {"least to greatest seed"}
    rows = {name: [row for group in plot.groups for row in group.rows] for name, plot in plots.items()}
    assert [row.label for row in rows["test-accuracy"]] == [METHODS[name].title for name in names if name in METHODS]
    second = "human labels" if human else "random labels"
    assert [row.label for row in rows["four-methods"]] == ["zero-shot", second, "ICM", "gold labels"]
    raw, calibrated = rows["four-methods"][2].bars
    assert raw == calibrated
    assert raw.estimate == found[3].figures["raw"]["accuracy"]
    assert raw.seeds == (0.8, 0.8)
    without = [summary for summary in found if summary.method.name != "icm"]
    assert list(baseline_plots(without, 0.5)) == ["test-accuracy"]
    four = [summary for summary in found if summary.method.title in (second, "zero-shot", "ICM", "gold labels")]
    assert list(baseline_plots(four, 0.5)) == ["test-accuracy"]


def test_usual_methods_are_those_that_are_distinguishable() -> None:
    def names(task: Task, **given: str) -> list[str]:
        return [method.name for method in chosen([], Offer(task, **given))]

    assert names(PLAIN) == [
        *("zero_shot", "random_few_shot", "bootstrap", "growing", "joint", "gibbs", "icm", "noise", "gold")
    ]
    assert set(names(RULED)) - set(names(PLAIN)) == {"bootstrap_consistent"}
    more = names(PLAIN, prefix="Before.", human="person")
    assert set(more) - set(names(PLAIN)) == {"zero_shot_prefix", "human"}
    assert [method.name for method in chosen(["gold", "zero_shot"], Offer(PLAIN))] == [*("zero_shot", "gold")]


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["icmm"], "no method 'icmm'"),
        (["human"], "--human"),
        (["zero_shot_prefix"], "--prefix-file"),
        (["bootstrap_consistent"], "rules"),
        (["noise", "gold"], "the labels of icm"),
    ],
)
def test_what_cannot_be_compared_is_reported(names: list[str], says: str) -> None:
    with pytest.raises(RequestError, match=says):
        chosen(names, Offer(PLAIN))
