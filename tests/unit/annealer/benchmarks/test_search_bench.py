"""Searches side by side: what is counted, compared, saved, and gone on with."""

from __future__ import annotations

import io
import itertools
import json
import math
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import planted
from tests.conftest import Serving
from tests.icm_command import Ended, Icm, check_refused, wait_for

from icm_annealer.benchmarks.case import Opened
from icm_annealer.benchmarks.search_presets import PRESETS, find_compared
from icm_annealer.benchmarks.searches.chain import spearman
from icm_annealer.benchmarks.searches.plan import GOLD, BenchPlan, bench_names
from icm_annealer.benchmarks.searches.rows import SearchRow
from icm_annealer.benchmarks.searches.summaries import task_comparisons
from icm_annealer.benchmarks.searches.tables import COSTS, FOUND, print_comparisons, short
from icm_annealer.benchmarks.weighing import OrderUs, Weighed
from icm_annealer.console.terminal import Terminal
from icm_annealer.core.objective import Objective
from icm_annealer.evaluation.many_shot import ManyShot
from icm_annealer.runs.schema.verdict import WORDS
from icm_annealer.scoring.cost_model import PassTokens
from icm_annealer.scoring.passes import PassScorer
from icm_annealer.scoring.prefix_plan import PlanKind
from icm_annealer.search.base import Problem, Search, weigh_alone
from icm_annealer.search.driver import SearchOutcome, drive
from icm_annealer.search.problem import problem_of
from icm_client import RequestError, ScorerClient
from icm_server.config import ScoringConfig

ALL = ",".join(bench_names())
STOPPED = [name for name, search in PRESETS.items() if search.kind.is_stopped]
PAIRED = planted.TASK + "group: pair\nleave_out: group\nrules: [{kind: mirrored}]\n"


async def opened(scorer: ScorerClient, task_file: Path, objective: Objective, plan: str) -> tuple[Opened, Problem]:
    loaded_task, loaded = planted.load(task_file)
    task, examples, model = loaded_task.task, loaded.examples, await scorer.model()
    problem = problem_of(task, examples, objective, PlanKind.parse(plan))
    passes = await PassScorer.open(scorer, task, examples, problem.units, model)
    many_shot = await ManyShot.open(scorer, task, examples, examples, model)
    return Opened(passes, await PassTokens.of(passes), many_shot), problem


@pytest.mark.slow
@pytest.mark.parametrize("task", [planted.TASK, PAIRED], ids=["alone", "paired"])
@pytest.mark.parametrize("plan", ["tree", "fixed"])
async def test_what_the_published_search_costs_by_plan_fixed_is_what_it_does_cost(
    tmp_path: Path, serving: Serving, plan: str, task: str
) -> None:
    """Within 3 %: planted texts share words, and the count takes them to differ."""
    task_file = planted.write_task(tmp_path, 20, task=task)
    settings = BenchPlan(["official"]).settings(find_compared("official"), 20, 0)
    async with serving(scoring=ScoringConfig(read_cache_memory_bytes=0)) as scorer:
        case, problem = await opened(scorer, task_file, Objective("margin"), plan)
        counter, purposes = case.counter(counts_fixed=True), Counter[str]()
        outcome = await drive(
            settings.start(problem),
            problem,
            case.passes,
            counter=counter,
            on_pass=lambda event: purposes.update([event.request.purpose]),
        )
    measured = outcome.costs.usage.computed_tokens
    assert measured <= counter.tokens <= 1.03 * measured
    if plan == "fixed":
        assert counter.fixed_tokens == counter.tokens
    # A cache that forgets each pass computes more; one that remembers finds the same order again.
    assert counter.fixed_tokens_cold > 1.5 * counter.fixed_tokens
    expected = settings.expected_passes(20)
    assert expected is not None
    assert purposes[expected.purpose or ""] == expected.num == 50  # 2.5 iterations an example
    assert not outcome.is_stopped


@pytest.mark.parametrize("search", STOPPED)
async def test_a_search_is_stopped_at_the_first_round_after_its_budget(
    tmp_path: Path, scorer: ScorerClient, search: str
) -> None:
    case, problem = await opened(scorer, planted.write_task(tmp_path, 24), Objective(), "tree")
    settings = BenchPlan([search]).settings(find_compared(search), 24, 3)

    async def run(budget: int) -> tuple[SearchOutcome, list[int]]:
        counter, tokens = case.counter(), list[int]()
        outcome = await drive(
            settings.start(problem),
            problem,
            case.passes,
            counter=counter,
            stops=lambda costs, requests: counter.tokens >= budget,
            on_pass=lambda event: tokens.append(counter.tokens),
        )
        return outcome, tokens

    budget = 700
    stopped, tokens = await run(budget)  # these searches ask one pass a round
    assert stopped.is_stopped
    assert tokens[-2] < budget <= tokens[-1]
    again, tokens_again = await run(budget)
    assert again.labels.tolist() == stopped.labels.tolist()
    assert tokens_again == tokens  # though by now the engine has all in its cache
    assert again.costs.usage.computed_tokens < tokens[-1]


async def test_costs_are_added_up(tmp_path: Path, scorer: ScorerClient) -> None:
    case, problem = await opened(scorer, planted.write_task(tmp_path, 24), Objective(), "tree")
    labels, order = np.arange(24) % 2, np.arange(24)

    def search() -> Search:
        """Two passes in a round, then one."""
        yield [problem.request(labels, order, "a"), problem.request(1 - labels, order, "b")]
        (zero_shot,) = yield [problem.request(labels, order[::-1].copy(), "c")]
        return (yield from weigh_alone(problem, "toy", labels, zero_shot, 0, np.random.default_rng(0)))

    costs = (await drive(search(), problem, case.passes)).costs
    assert (costs.num_passes, costs.num_reads) == (3, 72)
    assert costs.usage.computed_tokens > 0
    assert costs.seconds > 0


def bench(icm: Icm, url: str, out: Path, task: Path, *options: object) -> Ended:
    command = ["search-bench", "--scorer", url, "--out", out, "--tasks", task, "--sizes", 12, "--test-size", 20]
    return icm(*command, "--orders", 2, *options)


def saved(out: Path) -> dict[str, Any]:
    figures: dict[str, Any] = json.loads(out.read_text())
    return figures


@pytest.mark.slow
def test_all_searches_are_compared(icm: Icm, tmp_path: Path, url: str) -> None:
    task, out = planted.write_task(tmp_path / "data", 40), tmp_path / "bench.json"
    figures = tmp_path / "figures"
    ended = bench(icm, url, out, task, "--methods", ALL, "--seeds", 2, "--chain", "--figures", figures)
    assert ended.code == 0, ended
    rows = saved(out)["searches"]
    assert [(row["seed"], row["search"]) for row in rows] == [(s, name) for s in (0, 1) for name in ALL.split(",")]
    ours = {row["seed"]: row for row in rows if row["search"] == "blocks"}
    for row in rows:
        assert 0 <= row["label_accuracy"] <= 1
        assert 0 <= row["test_accuracy"] <= 1
        assert row["weighed"]["u_se"] >= 0
        assert len(row["labels"].split()) == 12
        if row["search"] == GOLD:
            assert row["label_accuracy"] == 1
            assert "tokens" not in row
            assert "verdict" not in row
            continue
        assert row["tokens"] > 0
        assert row["verdict"] in WORDS
        assert (row["verdict"] == "unknown") == (row["search"] != "blocks")  # only ours evaluates its answers
        if row["is_stopped"]:
            assert row["search"] in STOPPED
            assert ours[row["seed"]]["tokens"] == row["budget"] <= row["tokens"]
        if row["search"] == "official":
            assert row["iterations"] == [30, 30]
            assert 0 < row["fixed_tokens"] < row["fixed_tokens_cold"]
    assert any(row["is_stopped"] for row in rows if row["search"] == "gibbs")
    (check,) = saved(out)["chain"]
    assert check["rows"][0]["plan"] == "tree"
    assert {row["plan"] for row in check["rows"]} == {"tree", "chain", "folds=2"}
    cheap, dear = (next(row["tokens"] for row in check["rows"] if row["plan"] == plan) for plan in ("chain", "tree"))
    assert cheap < dear
    for name in ALL.split(","):
        assert name in ended.out
    page = (tmp_path / "bench.html").read_text()
    assert page.lstrip().startswith("<!doctype html")
    assert "http" not in page.replace("http://www.w3.org", "")  # self-contained: nothing is fetched
    assert page.count("<svg") == 3
    assert "official, plan fixed" in page
    assert all(f">{column}</th>" in page for column in (*COSTS, *FOUND))
    for name in ("u", "label-accuracy", "test-accuracy-calibrated"):
        assert {path.suffix for path in figures.glob(f"planted-12-{name}.*")} == {".pdf", ".png", ".svg"}


@pytest.mark.slow
def test_equal_labels_are_weighed_equally(icm: Icm, tmp_path: Path, url: str) -> None:
    task, out = planted.write_task(tmp_path / "data", 60), tmp_path / "bench.json"
    options = ("--methods", "blocks,joint,gold", "--seeds", 4, "--sizes", 24)
    assert bench(icm, url, out, task, *options).code == 0
    rows = saved(out)["searches"]
    assert len(rows) == 12
    same = 0
    for row in rows:
        for other in rows:
            if row["seed"] == other["seed"] and row["labels"] == other["labels"]:
                assert row["weighed"] == other["weighed"]
                assert row["test_accuracy"] == other["test_accuracy"]
                same += row["search"] < other["search"]
    assert same > 0
    blocks = [row for row in rows if row["search"] == "blocks"]
    assert np.median([max(row["label_accuracy"], 1 - row["label_accuracy"]) for row in blocks]) >= 0.95


@pytest.mark.slow
def test_plans_and_searches_keep_each_others_figures(icm: Icm, tmp_path: Path, url: str) -> None:
    task, out = planted.write_task(tmp_path / "data", 40), tmp_path / "bench.json"
    plans = ("bench", "--scorer", url, "--out", out, "--sizes", "8", "--shot-tokens", "10")
    assert icm(*plans).code == 0
    before = saved(out)
    assert bench(icm, url, out, task, "--methods", "zero_shot").code == 0
    between = saved(out)
    assert {key: between[key] for key in before} == before
    assert icm(*plans).code == 0
    assert saved(out)["searches"] == between["searches"]
    assert len(saved(out)["plans"]) == len(before["plans"])


def test_a_place_that_cannot_be_written_is_an_error_before_anything_is_measured(
    icm: Icm, tmp_path: Path, url: str
) -> None:
    task, link = planted.write_task(tmp_path / "data", 40), tmp_path / "link"
    link.symlink_to(tmp_path / "nowhere" / "folder")
    for ended in (
        bench(icm, url, link / "bench.json", task),
        icm("bench", "--scorer", url, "--out", link / "bench.json"),
        icm("baselines", "--scorer", url, "--task", task, "--out", tmp_path / ("long" * 100)),
    ):
        check_refused(ended, 2, "cannot be made")
        assert ended.out == ""


@pytest.mark.slow
def test_a_bench_is_gone_on_with(icm: Icm, tmp_path: Path, url: str) -> None:
    task, out = planted.write_task(tmp_path / "data", 40), tmp_path / "bench.json"
    assert bench(icm, url, out, task, "--methods", "blocks,zero_shot").code == 0
    first = saved(out)["searches"]
    ended = bench(icm, url, out, task, "--methods", "blocks,zero_shot,joint", "--seeds", 2, "--resume")
    assert ended.code == 0
    rows = saved(out)["searches"]
    assert len(rows) == 6
    assert [row for row in rows if row["seed"] == 0 and row["search"] != "joint"] == first  # seconds and all
    assert "seed 0: blocks" not in ended.err
    assert "seed 0: joint" in ended.err
    # A search that is named alone is still stopped at the tokens of ours, and so is not done again.
    assert bench(icm, url, out, task, "--methods", "joint", "--seeds", 2, "--resume").code == 0
    assert saved(out)["searches"] == rows
    # What depends on another setting is done again; the rest of the file stays.
    ended = bench(icm, url, out, task, "--methods", "zero_shot", "--test-size", 19, "--resume")
    assert "seed 0: zero_shot" in ended.err
    assert len(saved(out)["searches"]) == 6
    # And everything is without --resume.
    ended = bench(icm, url, out, task, "--methods", "zero_shot", "--test-size", 19)
    assert "seed 0: zero_shot" in ended.err


def test_a_row_made_in_another_window_is_made_again(icm: Icm, tmp_path: Path, url: str) -> None:
    task, out = planted.write_task(tmp_path / "data", 40), tmp_path / "bench.json"
    assert bench(icm, url, out, task, "--methods", "zero_shot").code == 0
    figures = saved(out)
    (row,) = figures["searches"]
    row["of"]["window"]["max_prompt_tokens"] = 80
    out.write_text(json.dumps(figures))
    assert "seed 0: zero_shot" in bench(icm, url, out, task, "--methods", "zero_shot", "--resume").err


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"label_accuracy": math.nan}, "row 1 of searches (planted, 12, 0, zero_shot) was changed or damaged"),
        ({"tokens": None}, "row 1 of searches (planted, 12, 0, zero_shot) was changed or damaged"),
        ({"labels": "0 1 x"}, "row 1 of searches (planted, 12, 0, zero_shot) was changed or damaged"),
        ({"task": ["planted"]}, "12, 0, zero_shot) was changed or damaged"),
        ({"format": 2}, "row 1 of searches is of another version"),
    ],
)
def test_a_row_that_was_changed_is_not_summed_up(
    icm: Icm, tmp_path: Path, url: str, changes: dict[str, Any], says: str
) -> None:
    task, out = planted.write_task(tmp_path / "data", 40), tmp_path / "bench.json"
    assert bench(icm, url, out, task, "--methods", "zero_shot").code == 0
    figures = saved(out)
    figures["searches"][0].update(changes)
    out.write_text(json.dumps(figures))
    check_refused(bench(icm, url, out, task, "--methods", "zero_shot", "--resume"), 2, str(out), says)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_a_bench_that_is_stopped_keeps_what_it_has(
    icm: Icm, tmp_path: Path, url: str, number: signal.Signals, code: int
) -> None:
    task, out, whole = planted.write_task(tmp_path / "data", 40), tmp_path / "bench.json", tmp_path / "whole.json"
    options = ["--methods", "blocks,growing,official,joint", "--seeds", "3"]
    assert bench(icm, url, whole, task, *options).code == 0
    command = [sys.executable, "-m", "icm_annealer.cli.app", "search-bench", "--scorer", url, "--out", str(out)]
    command += ["--tasks", str(task), "--sizes", "12", "--test-size", "20", "--orders", "2", *options]
    environment = {key: value for key, value in os.environ.items() if key != "ICM_SCORER_URL"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment) as process:
        wait_for(process, lambda: out.exists() and len(saved(out)["searches"]) >= 3)
        process.send_signal(number)
        printed = process.communicate()[0].decode()
    assert process.returncode == code
    assert "Traceback" not in printed
    if number is signal.SIGINT:
        assert "--resume" in printed
    kept = saved(out)["searches"]
    assert 3 <= len(kept) < 12
    assert bench(icm, url, out, task, *options, "--resume").code == 0
    rows = saved(out)["searches"]
    assert rows[: len(kept)] == kept
    assert [comparable(row) for row in rows] == [comparable(row) for row in saved(whole)["searches"]]


def comparable(row: dict[str, Any]) -> dict[str, Any]:
    """What does not depend on when the row was made, nor on what the engine had been asked before."""
    return {key: value for key, value in row.items() if key not in ("seconds", "computed_tokens", "check")}


@pytest.mark.slow
def test_the_published_search_is_stopped_and_extrapolated_openly(icm: Icm, tmp_path: Path, url: str) -> None:
    task, out = planted.write_task(tmp_path / "data", 40), tmp_path / "bench.json"
    ended = bench(icm, url, out, task, "--methods", "blocks,official", "--iterations", 7)
    assert ended.code == 0
    (row,) = [row for row in saved(out)["searches"] if row["search"] == "official"]
    assert row["iterations"] == [7, 30]
    assert 8 <= row["num_labelled"] < 12
    assert row["extrapolated"] == pytest.approx(12 / row["num_labelled"])
    assert "stopped before its end" in ended.out
    assert "≈" in ended.out
    (comparison,) = task_comparisons([SearchRow.model_validate(row) for row in saved(out)["searches"]])
    summary = next(summary for summary in comparison.searches if summary.search == "official")
    assert summary.figures["tokens"].value == pytest.approx(row["tokens"] * row["extrapolated"])
    assert summary.figures["computed_tokens"].value == row["computed_tokens"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--methods", "blocks,blokcs"], "no search 'blokcs'"),
        (["--sizes", "12,many"], "12,many"),
        (["--sizes", "4"], "8 examples or more"),
        (["--sizes", "64"], "too few"),
        (["--weigh-plan", "bush"], "no plan 'bush'"),
        (["--iterations", "0"], "--iterations"),
        (["--methods", "joint", "--chain"], "blocks"),
        (["--tasks", "no-such-task"], "no-such-task"),
        (["--tasks", "living,living"], "same name"),
    ],
)
def test_mistakes_are_reported_before_anything_is_measured(
    icm: Icm, tmp_path: Path, url: str, options: list[str], says: str
) -> None:
    task, out = planted.write_task(tmp_path / "data", 40), tmp_path / "bench.json"
    check_refused(bench(icm, url, out, task, *options), 2, says)
    assert not out.exists()


@pytest.mark.parametrize("content", ["", "[1]", "no json", '{"searches": [{"n": 1}]}', '{"searches": 3}'])
def test_a_file_that_is_something_else_is_left_alone(icm: Icm, tmp_path: Path, url: str, content: str) -> None:
    task, out = planted.write_task(tmp_path / "data", 40), tmp_path / "bench.json"
    out.write_text(content)
    check_refused(bench(icm, url, out, task, "--methods", "zero_shot"), 2, str(out))
    assert out.read_text() == content
    if not content.startswith("{"):
        check_refused(icm("bench", "--scorer", url, "--out", out, "--sizes", "8", "--shot-tokens", "10"), 2, str(out))
        assert out.read_text() == content


def weighed(us: list[float], gold: float = 1.0) -> Weighed:
    found, same = OrderUs(us, us), OrderUs([gold] * len(us), us)
    return Weighed.of(found, same, found)


def row(search: str, seed: int, *, u: float, **figures: Any) -> SearchRow:
    usual = {"computed_tokens": 1, "reads_per_example": 1.0, "seconds": 1.0}
    accuracies = dict.fromkeys(("label_accuracy", "test_accuracy", "test_accuracy_calibrated"), 0.5)
    found = {"labels": "0 1", "label_rates": [0.5, 0.5], "weighed": weighed([u, u]).model_dump()}
    return SearchRow.model_validate(
        {"task": "t", "n": 8, "seed": seed, "search": search, **usual, **accuracies, **found, **figures}
    )


def test_ratios_and_counts_are_taken_seed_by_seed() -> None:
    rows = [row("blocks", seed, tokens=100 * (seed + 1), u=0.5) for seed in range(3)]
    others = zip((1000, 4000, 9000), (0.4, 0.5, 0.6), strict=True)
    rows += [
        row("official", seed, tokens=t, fixed_tokens=2 * t, fixed_tokens_cold=3 * t, u=u, num_labelled=4)
        for seed, (t, u) in enumerate(others)
    ]
    rows.append(row("official", 7, tokens=1, fixed_tokens=1, u=9.0))  # ours has no such seed
    (comparison,) = task_comparisons(rows)
    ours, official = comparison.searches
    assert ours.num_not_above_reference is None
    assert official.num_not_above_reference == 2
    assert official.figures["ratio"].value == 20.0
    assert official.figures["fixed_ratio"].value == 40.0
    assert official.figures["fixed_cold_ratio"].value == 60.0
    assert official.figures["fixed_cold_label_ratio"].value == 120.0  # it labelled 4 of 8
    assert "label_ratio" not in ours.figures
    assert "4 seeds" in comparison.title


@pytest.mark.parametrize("num_seeds", [1, 3])
def test_tables_fit_a_hundred_columns(num_seeds: int) -> None:
    """Nothing is folded or cut: a wider terminal shows the same."""
    rng = np.random.default_rng(0)
    rows = []
    for name, seed in itertools.product((*PRESETS, GOLD), range(num_seeds)):
        costs = dict(
            zip(("tokens", "fixed_tokens", "fixed_tokens_cold"), rng.integers(1e5, 1e9, 3).tolist(), strict=True)
        )
        figures = dict(zip(("u", "label_accuracy", "test_accuracy"), -rng.random(3), strict=True))
        spent = {"computed_tokens": 987_654_321, "reads_per_example": 1234.5, "seconds": rng.uniform(10, 99_999)}
        extrapolated = {"extrapolated": 1.7, "num_labelled": 3}
        rows.append(row(name, seed, **figures, **spent, **costs, **extrapolated))
    shown = []
    for width in (100, 1000):
        printed = io.StringIO()
        print_comparisons(Terminal(file=printed, width=width), task_comparisons(rows))
        tables = printed.getvalue()[: printed.getvalue().index("tokens: computed")]
        shown.append([line.strip() for line in tables.splitlines()])
    assert shown[0] == shown[1]
    assert all(any(line.startswith(name) for line in shown[0]) for name in PRESETS)


def test_numbers_are_written_shortly() -> None:
    numbers = (0.0, 0.974, 9.99, 50.61, 128.4, 8159.4, 9999, 67_091, 987_654, 3_305_225, 110_861_185)
    written = ("0.00", "0.97", "9.99", "50.6", "128", "8,159", "9,999", "67.1k", "988k", "3.31M", "111M")
    assert tuple(map(short, numbers)) == written


def test_rank_correlation_by_hand() -> None:
    assert spearman(np.array([1.0, 2.0, 3.0]), np.array([10.0, 20.0, 90.0])) == pytest.approx(1.0)
    assert spearman(np.array([1.0, 2.0, 3.0]), np.array([3.0, 2.0, -1.0])) == pytest.approx(-1.0)
    # Ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: 1.5 * 3 / sqrt(4.5 * 5)
    assert spearman(np.array([0.0, 5.0, 5.0, 9.0]), np.array([1.0, 2.0, 3.0, 4.0])) == pytest.approx(4.5 / 22.5**0.5)
    assert spearman(np.array([1.0, 1.0, 1.0]), np.array([1.0, 2.0, 3.0])) == 0.0


@given(st.lists(st.integers(-50, 50), min_size=2, max_size=30), st.randoms())
def test_rank_correlation_sees_only_ranks(values: list[int], random: Any) -> None:
    first = np.array(values, dtype=float)
    second = np.array([random.random() for _ in values])
    assert spearman(first**3, second) == pytest.approx(spearman(first, second))
    assert spearman(first, second) == pytest.approx(spearman(second, first))
    assert -1.0001 <= spearman(first, second) <= 1.0001


def test_the_published_search_does_exactly_the_iterations_set() -> None:
    for num in (8, 12, 63, 100, 128):
        for num_iterations in (1, 7, 20):
            settings = BenchPlan(["official"], max_iterations=num_iterations).settings(
                find_compared("official"), num, 0
            )
            assert int(np.ceil(settings.options.iterations_per_example * num)) == num_iterations
        assert BenchPlan(["official"]).iterations(find_compared("official"), num) == (int(np.ceil(2.5 * num)),) * 2


def test_a_plan_says_what_cannot_be_run() -> None:
    with pytest.raises(RequestError, match="8 examples"):
        BenchPlan(["blocks"], sizes=()).check()
    BenchPlan(["blocks"]).check()
