"""The report page: what it shows of runs, read from their folders, and that nothing in it does harm."""

from __future__ import annotations

import itertools
import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from tests import planted
from tests.conftest import Serving
from tests.finished import HEADER, finished

from icm_annealer.core.estimate import Estimate
from icm_annealer.evaluation.certainty import certainty_figures
from icm_annealer.plots.bands import BandPlot
from icm_annealer.plots.curves import CurvePlot
from icm_annealer.plots.points import PointPlot
from icm_annealer.plots.stacks import StackPlot
from icm_annealer.reporting.certainty_plots import at_least
from icm_annealer.reporting.compare_runs import ComparedRuns, alike, differences
from icm_annealer.reporting.report import render_report, report_plots, unbroken
from icm_annealer.reporting.run_report import RunReport, SearchReport
from icm_annealer.runs.directory import EVALUATION, EXAMPLES, JOURNAL, LABELS, METRICS, RunDir
from icm_annealer.runs.record import RunRecord
from icm_annealer.runs.schema.evaluation import FIGURE_NAMES, KINDS, Evaluation, SeedFigures
from icm_annealer.runs.schema.metrics import AlarmRecord, AnswerMetrics, RatesMetrics
from icm_client import RequestError, ScorerClient

VOID = {"meta", "br"}


class Page(HTMLParser):
    """Tags that are opened and closed in order, and the text between them."""

    def __init__(self, html: str):
        super().__init__()
        self.open: list[str] = []
        self.text = ""
        self.links: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        links = [value or "" for name, value in attributes if name in ("href", "src")]
        if tag == "use":
            assert all(link.startswith("#") for link in links)
        else:
            self.links += links
        assert tag != "script"
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += " ".join(data.split()) + " " if data.strip() else ""


async def test_a_run_without_gold(tmp_path: Path, scorer: ScorerClient) -> None:
    found = await finished(scorer, tmp_path / "run", planted.write_task(tmp_path / "data", 12))
    page = Page(render_report([RunReport.read(tmp_path / "run")]))
    assert "planted" in page.text
    assert f"{found.run.result.winner.u:+.3f}" in page.text
    assert "least certain labels" in page.text
    verdict = page.text.index(f"Verdict: {found.run.verdict.words}. {found.run.verdict.observation}")
    assert verdict < page.text.index("The search")
    assert "share of right labels" not in page.text
    assert "Test accuracy" not in page.text
    row = min(found.run.rows(), key=lambda row: row.certainty)
    assert row.id in page.text
    for alarm in found.alarms:
        assert alarm.code in page.text
    assert "12 examples labelled without labels by fake" in page.text
    assert page.links == []
    assert "wrong among them" not in page.text
    plots = report_plots([RunReport.read(tmp_path / "run")])
    assert list(plots) == ["u-by-pass", "certainty"]
    counts = plots["certainty"]
    assert isinstance(counts, StackPlot)
    assert counts.parts == ("≥ 0.99", "0.9 to 0.99", "0.8 to 0.9", "0.6 to 0.8", "< 0.6")
    certainties = {name: [row.certainty for row in found.run.rows() if row.label == name] for name in ("hot", "cool")}
    assert [stack.label for stack in counts.stacks] == ["hot", "cool"]
    for stack in counts.stacks:
        reached = [sum(one >= limit for one in certainties[stack.label]) for limit in (0.99, 0.9, 0.8, 0.6, 0)]
        assert list(itertools.accumulate(stack.numbers)) == reached


async def test_warnings_stand_beside_the_verdict_and_one_order_has_no_error(
    tmp_path: Path, scorer: ScorerClient
) -> None:
    run = tmp_path / "run"
    found = await finished(scorer, run, planted.write_task(tmp_path / "data", 12))
    alarm = AlarmRecord(code="too-few", level="warning", observation="Few.", advice="Use `icm run <b>`.")
    answers = [
        AnswerMetrics(starts=["random"], u=0.5, u_se=0.01, u_own_orders=0.5, agreement=1.0),
        AnswerMetrics(starts=["growing"], u=0.4, u_se=0.0, u_own_orders=0.4, agreement=0.5),
    ]
    made = found.metrics.model_copy(update={"alarms": [alarm], "answers": answers})
    (run / METRICS).write_text(made.model_dump_json())
    html = render_report([RunReport.read(run)])
    page = Page(html)
    assert page.text.count("too-few.") == 1
    assert page.text.index("Verdict: ") < page.text.index("too-few") < page.text.index("The search")
    assert "<code>icm run &lt;b&gt;</code>" in html
    assert "+0.500 ± 0.010 100 %" in page.text
    assert "+0.400 50 %" in page.text


async def test_u_is_shown_over_the_label_rates_that_were_tried(tmp_path: Path, scorer: ScorerClient) -> None:
    run = tmp_path / "run"
    found = await finished(scorer, run, planted.write_task(tmp_path / "data", 32), num=32)
    assert found.metrics.at_rates is None  # nothing spoke for other rates
    assert "u-by-rates" not in report_plots([RunReport.read(run)])

    def tried(hot: float, u: float, is_winner: bool = False) -> RatesMetrics:
        return RatesMetrics(label_rates={"hot": hot, "cool": 1 - hot}, u=u, u_se=0.02, is_winner=is_winner)

    answers = [tried(0.5, 0.3), tried(0.25, 0.4), tried(0.1, 0.55, True), tried(0.06, 0.5)]
    uneven = found.metrics.model_copy(update={"at_rates": answers})
    (run / METRICS).write_text(uneven.model_dump_json())
    plot = report_plots([RunReport.read(run)])["u-by-rates"]
    assert isinstance(plot, PointPlot)
    assert plot.x_label == "share of the label cool"
    assert [x for x, _ in plot.points] == [0.5, 0.75, 0.9, 0.94]
    assert [y.value for _, y in plot.points] == [0.3, 0.4, 0.55, 0.5]
    assert (plot.points[2][1].low, plot.points[2][1].high) == pytest.approx((0.51, 0.59))
    assert plot.marked == (2,)
    page = Page(render_report([RunReport.read(run)]))
    assert "U over label rates: nobody stated how frequent the labels are" in page.text
    assert "those of another answer" not in page.text
    curves = report_plots([RunReport.read(run)])["u-by-pass"]
    assert isinstance(curves, CurvePlot)
    assert all(curve.label.startswith("chain ") for curve in curves.curves)
    assert RunReport.read(run).calibrated_to == {}
    evaluation = Evaluation.model_construct(stated_rates={"hot": (0.1, 0.1)})
    assert replace(RunReport.read(run), evaluation=evaluation).calibrated_to == {"hot": (0.1, 0.1)}
    lost = uneven.model_copy(update={"at_rates": [tried(0.5, 0.3), tried(0.25, 0.4)]})
    (run / METRICS).write_text(lost.model_dump_json())
    page = Page(render_report([RunReport.read(run)]))
    assert "The labels of this run are those of another answer." in page.text


async def test_with_gold_it_shows_how_many_of_the_most_certain_labels_are_wrong(
    tmp_path: Path, scorer: ScorerClient
) -> None:
    task_file = planted.write_task(tmp_path / "data", 12)
    found = await finished(scorer, tmp_path / "run", task_file)
    rows = sorted(found.run.rows(), key=lambda row: -row.certainty)
    others = {"hot": "cool", "cool": "hot"}
    gold = {row.id: row.label if number < 9 else others[row.label] for number, row in enumerate(rows)}
    report = SearchReport.read(tmp_path / "run", gold)
    assert report.certainty is not None
    assert report.certainty.auroc.value == 1.0
    expected = {0.25: 0.0, 0.5: 0.0, 0.75: 0.0, 0.9: (10.8 - 9) / 10.8, 1.0: 0.25}
    for one in report.certainty.risks:
        assert one.risk.value == pytest.approx(expected.get(one.coverage, one.risk.value), abs=1e-9)
    page = Page(render_report([RunReport.read(tmp_path / "run", gold)]))
    assert "AUROC 1.000 [1.000, 1.000]" in page.text
    assert "of 12 labels with known gold" in page.text
    plots = report_plots([RunReport.read(tmp_path / "run", gold)])
    assert list(plots) == ["u-by-pass", "right-by-pass", "certainty", "risk-by-coverage"]
    curve = plots["risk-by-coverage"]
    assert isinstance(curve, BandPlot)
    assert curve.points[-1][1].value == 0.25


async def test_curves_are_those_of_the_search(tmp_path: Path, scorer: ScorerClient) -> None:
    task_file = planted.write_task(tmp_path / "data", 12)
    found = await finished(scorer, tmp_path / "run", task_file)
    _, loaded = planted.load(task_file)
    report = SearchReport.read(tmp_path / "run", loaded.gold)
    lines = [json.loads(line) for line in (tmp_path / "run" / JOURNAL).read_text().splitlines()]
    purposes = {line["request"]["purpose"] for line in lines if "request" in line}
    chains = sorted(purpose for purpose in purposes if purpose.startswith("chain "))
    assert chains[:2] == ["chain 1", "chain 2"]
    assert [curve.label for curve in report.u_curves] == chains
    expected = [line["u"] for line in lines if line.get("request", {}).get("purpose") == "chain 2"]
    assert [u for _, u in report.u_curves[1].points] == expected
    assert [x for x, _ in report.u_curves[1].points] == list(range(1, len(expected) + 1))
    assert all(0 <= share <= 1 for curve in report.accuracy_curves for _, share in curve.points)
    right = [row.label == loaded.gold[row.id] for row in found.run.rows()]
    assert report.label_accuracy is not None
    assert report.label_accuracy.value == sum(right) / len(right)
    assert report.label_accuracy.low < report.label_accuracy.high


async def test_texts_of_examples_and_names_are_escaped(tmp_path: Path, scorer: ScorerClient) -> None:
    planted.write_rows(
        tmp_path / "data.jsonl", [{"id": f"<i>{k}", "words": f"<script>alert({k})</script>"} for k in range(8)]
    )
    (tmp_path / "task.yaml").write_text(planted.TASK.replace("  hot: ", '  "<b>hot": '), encoding="utf-8")
    await finished(scorer, tmp_path / "<u>run", tmp_path / "task.yaml")
    for runs in ([tmp_path / "<u>run"], [tmp_path / "<u>run"] * 2):
        html = render_report([RunReport.read(run) for run in runs])
        assert "<script" not in html
        assert "<b>" not in html
        assert "<u>" not in html
        assert "<i>0" not in html
        Page(html)


async def test_a_run_that_was_stopped_shows_how_far_it_came(tmp_path: Path, scorer: ScorerClient) -> None:
    folder = tmp_path / "run"
    await finished(scorer, folder, planted.write_task(tmp_path / "data", 8))
    whole = (folder / JOURNAL).read_bytes().splitlines(keepends=True)
    (folder / JOURNAL).write_bytes(b"".join(whole[:4]))
    for name in (LABELS, METRICS, EXAMPLES):
        (folder / name).unlink()
    page = Page(render_report([RunReport.read(folder)]))
    assert "was stopped before its end" in page.text
    assert "least certain" not in page.text
    both = Page(render_report([RunReport.read(folder)] * 2))
    assert "stopped" in both.text


@pytest.mark.slow
async def test_several_runs_side_by_side(tmp_path: Path, scorer: ScorerClient) -> None:
    task_file = planted.write_task(tmp_path / "data", 12)
    other = planted.write_task(tmp_path / "other", 12, task=planted.TASK.replace("Kind:", "Sort:"))
    for name, file, seed in (("a", task_file, 0), ("b", task_file, 1), ("c", other, 0)):
        await finished(scorer, tmp_path / "runs" / name, file, seed=seed)
    runs = [RunReport.read(tmp_path / "runs" / name) for name in "abc"]
    page = Page(render_report(runs))
    assert "3 runs side by side" in page.text
    assert page.text.count("Verdict: ") == 3
    table = page.text[: page.text.index("What differs")]
    assert all(run.verdicts in table for run in runs)
    assert all(run.verdicts == run.first.verdict.words for run in runs if run.first.verdict)
    assert page.links == ["#run-1", "#run-2", "#run-3"]
    for name in ("task.template", "settings.seed"):
        assert name in page.text
    assert "the runs differ in task" in page.text
    same = Page(render_report(runs[:2]))
    assert "U say nothing" not in same.text
    assert "task.template" not in same.text


async def test_what_differs_and_how_far_labels_agree(tmp_path: Path, scorer: ScorerClient) -> None:
    task_file = planted.write_task(tmp_path / "data", 12)
    other = planted.write_task(tmp_path / "other", 12, task=planted.TASK.replace("hot", "warm"))
    await finished(scorer, tmp_path / "a", task_file)
    await finished(scorer, tmp_path / "b", task_file, seed=1, num=6)
    (tmp_path / "c" / "data.jsonl").parent.mkdir()
    record, second = RunRecord.read(tmp_path / "a"), RunRecord.read(tmp_path / "b")
    labels = {name: "hot" for name in record.ids}
    runs = [
        ComparedRuns("a", record, labels),
        ComparedRuns("b", second, {name: "cool" if k < 2 else "hot" for k, name in enumerate(second.ids)}),
    ]
    found = {difference.what: difference for difference in differences(runs)}
    assert set(found) == {"settings.seed", "data", "examples"}
    assert found["settings.seed"].values == ["0", "1"]
    assert (found["settings.seed"].u_part, found["data"].u_part) == (None, "data")
    pair = alike(runs)[0][1]
    assert pair is not None
    assert (pair.num, pair.share) == (6, pytest.approx(4 / 6))
    planted.write_rows(other.parent / "data.jsonl", [{**row, "label": None} for row in planted.rows(12)])
    await finished(scorer, tmp_path / "c", other)
    third = RunRecord.read(tmp_path / "c")
    assert alike([runs[0], ComparedRuns("c", third, {name: "cool" for name in third.ids})]) == []


@pytest.mark.slow
async def test_u_of_another_window_is_not_compared(tmp_path: Path, serving: Serving) -> None:
    task_file = planted.write_task(tmp_path / "data", 12)
    for name, window in (("a", 100), ("b", 120)):
        async with serving(max_prompt_tokens=window) as scorer:
            await finished(scorer, tmp_path / name, task_file)
    found = differences([RunReport.read(tmp_path / name).compared for name in "ab"])
    windows = [difference for difference in found if difference.what == "window.max_prompt_tokens"]
    assert [difference.values for difference in windows] == [["100", "120"]]
    assert windows[0].u_part == "context window"
    page = Page(render_report([RunReport.read(tmp_path / name) for name in "ab"]))
    assert "the runs differ in" in page.text
    assert "context window" in page.text


async def test_what_an_evaluation_found_is_shown(tmp_path: Path, scorer: ScorerClient) -> None:
    folder = tmp_path / "run"
    await finished(scorer, folder, planted.write_task(tmp_path / "data", 8))
    unknown = Estimate(math.nan, math.nan, math.nan)
    one = {**dict.fromkeys(FIGURE_NAMES, Estimate(0.4321, 0.4, 0.5)), "auroc": unknown}
    figures = dict.fromkeys(("zero_shot", "icm"), dict.fromkeys(KINDS, one))
    evaluation = Evaluation(
        run="run",
        task="planted",
        model=HEADER.model,
        num_unseen=8,
        label_accuracy=None,
        intervals="of a kind",
        ece_bins="15",
        num_examples=8,
        num_test=8,
        num_dropped=0,
        computed_tokens=1,
        cached_tokens=0,
        figures=figures,
        gap_recovered={"raw": Estimate(0.5, 0.4, 0.6)},
        seeds=[SeedFigures(seed=0, figures=figures, gap_recovered={})],
    )
    RunDir(folder).write(EVALUATION, evaluation)
    html = render_report([RunReport.read(folder)])
    page = Page(html)
    assert "zero-shot ICM accuracy, raw" in page.text
    (gap,) = re.findall("<tr><td>gap recovered, raw</td>(.*)</tr>", html)
    assert [cell[:5] for cell in re.findall('<td class="n">(.*?)</td>', gap)] == ["", "0.500"]  # below ICM
    assert "wrong among them" not in page.text
    assert "0.432 [0.400, 0.500]" in page.text
    assert "of a kind" in page.text
    known = certainty_figures(RunRecord.read(folder).rows(), np.linspace(0.5, 1, 8), np.array([0.0, *[1.0] * 7]))
    RunDir(folder).write(EVALUATION, evaluation.model_copy(update={"certainty": known}))
    report = RunReport.read(folder)
    assert report.searches[0].certainty == known
    assert "of 8 labels with known gold" in Page(render_report([report])).text
    path = folder / EVALUATION
    path.write_text(path.read_text().replace('"brier"', '"bier"', 1))
    with pytest.raises(RequestError, match=r"eval\.json: figures\.zero_shot: has no raw\.brier"):
        render_report([RunReport.read(folder)])


@pytest.mark.parametrize(("certainty", "written"), [(0.546, "0.54"), (0.9999, "0.99"), (0.29, "0.29"), (1.0, "1.00")])
def test_a_threshold_is_not_above_the_certainties_that_it_is_of(certainty: float, written: str) -> None:
    assert at_least(certainty) == written


def test_an_interval_may_stand_below_its_value_as_a_whole() -> None:
    assert unbroken("+0.5 [0.4, 0.6] none") == '+0.5 <span class="unbroken">[0.4, 0.6]</span> none'
    assert unbroken("<b> ± 0.1") == "&lt;b&gt; ± 0.1"


def test_no_run_is_reported(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="holds no run"):
        RunReport.read(tmp_path)
