"""Figures are of what was measured, and a claim that does not hold is called so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import planted
from tests.conftest import Serving

from icm_annealer.benchmarks.case import Case, TaskData
from icm_annealer.benchmarks.saved_rows import SavedRows
from icm_annealer.benchmarks.weighing import OrderUs, Weighed
from icm_annealer.core.arrays import Ints
from icm_annealer.data.examples import load_examples
from icm_annealer.data.task import built_in_tasks, load_task
from icm_annealer.plots.bars import BarPlot
from icm_client import RequestError
from icm_lab.reproduce.claims import REAL, SMALL, Claim, Figure, MethodBar
from icm_lab.reproduce.figures import FIGURES
from icm_lab.reproduce.measures import MEASURES
from icm_lab.reproduce.methods import METHODS, OURS
from icm_lab.reproduce.page import figure_plots, render_page
from icm_lab.reproduce.rows import ReproduceRow
from icm_lab.reproduce.run import ROWS, SEEDS, RowMaker
from icm_lab.reproduce.trainings import Trainings
from icm_lab.reproduce.trial import Trial
from icm_lab.reproduce.verdicts import estimate, figure_found, judge, searches_found
from icm_server.engines.model_store import PACKAGED

FIRST, SECOND = MethodBar("lab-large", "lab-arithmetic", "icm"), MethodBar("lab-large", "lab-arithmetic", "gold")


def rows(bar: MethodBar, rights: list[int], num: int = 100) -> list[ReproduceRow]:
    common: dict[str, Any] = {"model": bar.model, "task": bar.task, "n": num, "method": bar.method}
    common |= {"measure": bar.measure, "num": num, "num_counted": num, "passes": 3.0, "collapsed": False}
    return [ReproduceRow(**common, seed=seed, right=right, labels_right=right) for seed, right in enumerate(rights)]


RIGHTS = st.lists(st.integers(0, 100), min_size=1, max_size=5)


@given(RIGHTS)
def test_an_interval_holds_its_mean(rights: list[int]) -> None:
    found = estimate(rows(FIRST, rights))
    assert found.value == pytest.approx(np.mean(rights) / 100)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert found.high - found.low > 0.003


@settings(max_examples=50)
@given(RIGHTS, RIGHTS)
def test_no_two_bars_beat_each_other(one: list[int], other: list[int]) -> None:
    both = [*rows(FIRST, one), *rows(SECOND, other)]
    first, second = (judge(Claim(*pair), both).holds for pair in ((FIRST, "higher", SECOND), (SECOND, "higher", FIRST)))
    matches = judge(Claim(FIRST, "matches", SECOND), both).holds
    assert not (first and second)
    assert not matches or abs(np.mean(one) - np.mean(other)) <= 10.001


def test_what_claims_need_to_hold() -> None:
    clear = [*rows(FIRST, [90, 92, 91]), *rows(SECOND, [60, 62, 61])]
    assert judge(Claim(FIRST, "higher", SECOND), clear).holds
    assert not judge(Claim(SECOND, "higher", FIRST), clear).holds
    assert not judge(Claim(FIRST, "matches", SECOND), clear).holds
    assert not judge(Claim(FIRST, "matches", 0.5), clear).holds
    assert judge(Claim(FIRST, "matches", 0.9), clear).holds


def test_a_claim_that_does_not_hold_is_printed_as_such() -> None:
    figure = Figure("3", "ICM < gold & more", "as published", (Claim(FIRST, "higher", SECOND),))
    found = figure_found(figure, [*rows(FIRST, [50]), *rows(SECOND, [50])])
    assert found["holds"] is False
    page = render_page({"num": 1, "num_test": 2, "match": 0.05, "figures": [found], "searches": []})
    assert '<td class="warned">does not hold</td>' in page
    assert ".warned {" in page  # in red
    assert "ICM &lt; gold &amp; more" in page
    (plot,) = figure_plots({"figures": [found]}).values()
    assert isinstance(plot, BarPlot)
    (group,) = plot.groups
    assert group.heading == "lab-arithmetic, lab-large"
    assert [(row.label, row.bars[0].estimate.value) for row in group.rows] == [("ICM", 0.5), ("gold labels", 0.5)]


def test_the_figures_name_what_there_is() -> None:
    claims = [str(claim) for figure in FIGURES for claim in figure.claims]
    assert "living, smollm2-135m: ICM higher than zero-shot" in claims
    assert "lab-arithmetic: ICM on lab-large higher than ICM on lab-small" in claims
    assert "lab-not-salient, lab-large: ICM matches 0.5" in claims
    for figure in FIGURES:
        assert all(
            claim.second.task == claim.first.task for claim in figure.claims if isinstance(claim.second, MethodBar)
        )
        for bar in figure.bars:
            assert bar.model in PACKAGED
            assert bar.task in built_in_tasks()
            assert bar.method in METHODS
            assert bar.measure == "shots" or bar.method != "zero_shot"


@pytest.mark.slow
async def test_every_method_labels_a_trial(tmp_path: Path, serving: Serving) -> None:
    task = planted.TASK + "group: pair\nrules:\n  - {kind: exactly_one, label: hot}\n"
    loaded_task, loaded = planted.load(planted.write_task(tmp_path, 48, task=task))
    async with serving() as scorer:
        data = TaskData(loaded_task.task, loaded)
        case = Case(data, 16, 20, 0, await scorer.model(), scorer, "reproduce")
        trial = await Trial.open(case, data, Trainings(SMALL, tmp_path, tmp_path))
        for name, method in METHODS.items():
            if name == "human" or method.trains:
                continue
            found = await method.find(trial, 0)
            if found is None:
                assert name == "zero_shot"
                continue
            assert set(found.labels.tolist()) <= {0, 1}
            assert (found.passes > 0) == (name.startswith(("icm", "published", "from")))
            assert 0 <= (await MEASURES["shots"].take(trial, found.labels)).right <= 20
        gold, wrong = await METHODS["gold"].find(trial, 0), await METHODS["noise"].find(trial, 0)
        icm = await METHODS["icm"].find(trial, 0)
        assert gold is not None
        assert wrong is not None
        assert icm is not None
        assert (wrong.labels != gold.labels).sum() == (icm.labels != gold.labels).sum()


@pytest.mark.slow
async def test_models_are_tuned_on_the_labels_of_a_trial(tmp_path: Path, serving: Serving, one_thread: None) -> None:
    """On the smallest model, with real trainings; only prompts are answered by the fake engine."""
    loaded = load_task("lab-superhuman")
    assert loaded.data_path is not None
    read = load_examples(loaded.data_path, loaded.task)
    data = TaskData(loaded.task, read._replace(examples=read.examples[:160]))
    async with serving() as scorer:
        case = Case(data, 48, 48, 0, await scorer.model(), scorer, "reproduce")
        trial = await Trial.open(case, data, Trainings(SMALL, tmp_path, tmp_path))

        async def share(measure: str, labels: Ints) -> float:
            right, num = await MEASURES[measure].take(trial, labels)
            return right / num

        people = trial.human()
        assert await share("tuned", trial.gold) > await share("tuned", people)
        assert await share("reward", trial.gold) > await share("reward", people)
        assert await share("wins", trial.gold) > 0.5
        assert await share("wins_over_people", trial.gold) > 0.5
        # One label teaches nothing but itself.
        assert await share("tuned", np.zeros(48, dtype=np.int64)) == np.mean(trial.gold_test == 0)
        rounds = await trial.relabelled(trial.gold, trial.problem(OURS))
        assert rounds.after(0).tolist() == trial.gold.tolist()
        assert np.mean(rounds.after(1) == trial.gold) > 0.9
        assert rounds.after(99) is rounds.result


@pytest.mark.slow
async def test_rows_of_other_weights_are_made_again(tmp_path: Path, serving: Serving) -> None:
    bars = [MethodBar(REAL, "living", method) for method in ("zero_shot", "gold")]
    reported: list[str] = []

    async def made(seed: int) -> list[ReproduceRow]:
        reported.clear()
        async with serving(seed=seed) as scorer:
            maker = RowMaker(tmp_path, tmp_path, reported.append, num_seeds=2)
            return await maker.model_rows(scorer, bars, SavedRows(tmp_path / ROWS, REAL, ReproduceRow))

    rows = await made(1)
    for row in rows:
        if row.method == "gold":
            assert row.weighed is not None
            assert (row.weighed.search_gap, row.weighed.verdict) == (0.0, "none")
            assert row.weighed.u == row.weighed.u_gold != row.weighed.u_zero_shot
        else:
            assert row.weighed is None
    assert len(rows) == len(reported) == 2 * 2
    assert await made(1) == rows
    assert not reported
    await made(2)
    assert len(reported) == len(rows)


async def test_what_a_killed_process_trained_is_removed(tmp_path: Path, serving: Serving) -> None:
    left = tmp_path / f"{REAL}.trainings/sft-0123456789abcdef-0"
    left.mkdir(parents=True)
    (left / "training.json").write_text("{}")
    async with serving() as scorer:
        maker = RowMaker(tmp_path, tmp_path, print, num_seeds=1)
        saved = SavedRows(tmp_path / ROWS, REAL, ReproduceRow)
        await maker.model_rows(scorer, [MethodBar(REAL, "living", "zero_shot")], saved)
    assert [path.name for path in tmp_path.iterdir()] == [ROWS]


async def test_rows_that_are_none_are_reported_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / ROWS).write_text('{"lab-large": [{"task": "lab-ari')
    with pytest.raises(RequestError, match="move it away"):
        await RowMaker(tmp_path, tmp_path, print).rows(FIGURES)
    assert (tmp_path / ROWS).read_text().endswith("lab-ari")


def test_the_table_of_searches_has_means_over_seeds_and_gaps() -> None:
    searched = rows(FIRST, [1] * SEEDS)
    (search,) = searches_found(searched)
    expected = {"model": "lab-large", "task": "lab-arithmetic", "method": "icm", "title": "ICM", "passes": 3.0}
    expected["weighed"] = None
    assert search == expected
    us = OrderUs([0.5, 0.75], [0.0])
    weighed = Weighed.of(us, OrderUs([0.75, 1.0], [0.0]), us)
    (search,) = searches_found([row.model_copy(update={"weighed": weighed}) for row in searched])
    assert search["weighed"]["verdicts"] == {"search gap": SEEDS}
    assert search["weighed"]["search_gap"] == {"value": 0.25, "low": 0.25, "high": 0.25}
    page = render_page({"num": 1, "num_test": 2, "match": 0.05, "figures": [], "searches": [search]})
    assert f"search {SEEDS}/{SEEDS}" in page
