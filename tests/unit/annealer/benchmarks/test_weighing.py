"""U of the gold and of the zero-shot labels beside U of those that a method found."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import planted
from tests.icm_command import Icm

from icm_annealer.benchmarks.case import Case, TaskData
from icm_annealer.benchmarks.gaps import GapSummary
from icm_annealer.benchmarks.searches.bench import run_bench
from icm_annealer.benchmarks.searches.plan import BenchPlan
from icm_annealer.benchmarks.weighing import OrderUs, Weighed, WeighPlan, verdict_of
from icm_annealer.console.progress import RunProgress
from icm_annealer.console.terminal import Terminal
from icm_annealer.core.arrays import Array, Ints
from icm_annealer.core.objective import calibrated
from icm_client import ModelInfo, RequestError, ScorerClient, ScoreRequest, ScoreResponse

PAIRED = planted.TASK + "group: pair\nleave_out: group\nrules: [{kind: mirrored}]\n"
SEPARATOR = "\n\n"
TEXTS = [" hot", " cool"]
NEAR = 1e-4
"""Nats by which an intercept may be off, since its iteration ends when it moves less than 1e-5."""


class Counting:
    """A scorer that counts the requests it passes on."""

    def __init__(self, scorer: ScorerClient):
        self._scorer = scorer
        self.num_scored = 0

    async def score(self, request: ScoreRequest) -> ScoreResponse:
        self.num_scored += 1
        return await self._scorer.score(request)

    async def count_tokens(self, texts: Sequence[str], *, special_tokens: bool = False) -> list[int]:
        return await self._scorer.count_tokens(texts, special_tokens=special_tokens)

    async def model(self) -> ModelInfo:
        return await self._scorer.model()


def data_of(folder: Path, num: int, task: str = planted.TASK, *, gold_seed: int | None = None) -> TaskData:
    """Planted data; with `gold_seed`, the gold labels are permuted at random among the examples."""
    loaded_task, loaded = planted.load(task_of(folder, num, task, gold_seed))
    return TaskData(loaded_task.task, loaded)


def task_of(folder: Path, num: int, task: str, gold_seed: int | None) -> Path:
    task_file, rows = planted.write_task(folder, num, task=task), planted.rows(num)
    if gold_seed is not None:
        labels = np.random.default_rng(gold_seed).permutation([row["label"] for row in rows]).tolist()
        planted.write_rows(folder / "data.jsonl", [row | {"label": to} for row, to in zip(rows, labels, strict=True)])
    return task_file


async def case_of(data: TaskData, num: int, scorer: ScorerClient | Counting, seed: int = 5) -> Case:
    return Case(data, num, 8, seed, await scorer.model(), scorer, "weighing")


async def u_by_hand(case: Case, labels: Ints, units: Sequence[Sequence[int]], scorer: ScorerClient) -> list[float]:
    """U on each of three orders: prompts written out, one request for each order."""
    rng, us = np.random.default_rng([case.seed, 2]), []
    for _ in range(3):
        order = [units[k] for k in rng.permutation(len(units))]
        halves = [[i for unit in half for i in unit] for half in np.split(np.array(order), [len(order) // 2])]
        prompts: list[str] = []
        for queries, context in (halves, halves[::-1]):
            shots = [case.train[i].text + TEXTS[labels[i]] for i in evenly(context, labels)]
            prompts += [SEPARATOR.join([*shots, case.train[i].text]) for i in queries]
        answer = await scorer.score(ScoreRequest(prompts=prompts, labels=TEXTS, terminator=SEPARATOR))
        behind = np.split(np.array(answer.logprobs), [len(halves[0])])
        gains = np.concatenate([gains_by_hand(*half) for half in zip(behind, [labels[h] for h in halves], strict=True)])
        own = labels[np.concatenate(halves)]
        us.append(sum(float(gains[own == label].mean()) for label in set(own.tolist())) / 2)
    return us


def evenly(context: Sequence[int], labels: Ints) -> list[int]:
    """At most twice as many examples of one label as of the other, but four if there are so many."""
    rarest = min(sum(labels[i] == label for i in context) for label in (0, 1))
    kept: list[int] = []
    for i in context:
        if sum(labels[k] == labels[i] for k in kept) < max(2 * rarest, 4):
            kept.append(i)
    return kept


def gains_by_hand(logprobs: Array, labels: Ints) -> Array:
    """The log-probabilities of two labels, + ln 2, were both equally frequent: the log-odds are shifted so that the
    mean probability of the second label is its rate."""
    log_odds, rate = logprobs[:, 1] - logprobs[:, 0], float((labels == 1).mean())
    if rate in (0.0, 1.0):
        return np.zeros(len(labels))
    low, high = -100.0, 100.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if (1 / (1 + np.exp(-log_odds - middle))).mean() < rate else (low, middle)
    even = log_odds + low - np.log(rate / (1 - rate))
    gains: Array = -np.log1p(np.exp(np.where(labels == 1, -even, even))) + np.log(2)
    return gains


@pytest.mark.parametrize("task", [planted.TASK, PAIRED], ids=["alone", "paired"])
async def test_u_is_that_of_the_prompts_written_out(tmp_path: Path, scorer: ScorerClient, task: str) -> None:
    case = await case_of(data_of(tmp_path, 40, task), 12, scorer)
    groups: dict[str, list[int]] = {}
    for number, example in enumerate(case.train):
        groups.setdefault(example.group or str(number), []).append(number)
    units = list(groups.values())
    assert len(units) == (6 if task is PAIRED else 12)
    all_hot = np.zeros(12, dtype=np.int64)
    found = await case.weighed(all_hot)
    gold = await u_by_hand(case, case.gold, units, scorer)
    hot = await u_by_hand(case, all_hot, units, scorer)
    broken = 6 / 50 if task is PAIRED else 0.0  # six pairs of equal labels, at 1 / alpha each
    assert found.u_gold == pytest.approx(np.mean(gold), abs=NEAR)
    assert found.u == pytest.approx(np.mean(hot) - broken, abs=NEAR)
    assert found.u_se == pytest.approx(np.std(hot, ddof=1) / 3**0.5, abs=NEAR)
    assert found.search_gap == pytest.approx(np.mean(gold) - np.mean(hot) + broken, abs=NEAR)
    assert found.search_gap_se == pytest.approx(np.std(np.subtract(gold, hot), ddof=1) / 3**0.5, abs=NEAR)
    # Zero-shot labels: calibrated, and the best under the rules.
    alone = await scorer.score(ScoreRequest(prompts=[e.text for e in case.train], labels=TEXTS, terminator=SEPARATOR))
    scores = calibrated(np.array(alone.logprobs))
    labels = scores.argmax(axis=1)
    if task is PAIRED:
        for one, other in units:
            labels[one] = int(scores[one, 1] + scores[other, 0] > scores[one, 0] + scores[other, 1])
            labels[other] = 1 - labels[one]
    assert found.u_zero_shot == pytest.approx(np.mean(await u_by_hand(case, labels, units, scorer)), abs=NEAR)


async def test_gold_above_the_labels_is_a_search_gap_and_below_them_an_objective_gap(
    tmp_path: Path, scorer: ScorerClient
) -> None:
    right = await case_of(data_of(tmp_path / "right", 80), 48, scorer)
    wrong = await case_of(data_of(tmp_path / "wrong", 80, gold_seed=1), 48, scorer)
    assert [example.id for example in right.train] == [example.id for example in wrong.train]
    poor = await right.weighed(wrong.gold)
    assert poor.search_gap > 0.1
    assert poor.verdict == "search gap"
    # What is planted is predictable; gold that was permuted is not, so the objective prefers what is planted.
    better = await wrong.weighed(right.gold)
    assert better.verdict == "objective gap"
    assert better.search_gap == pytest.approx(-poor.search_gap)
    assert (better.u, better.u_gold) == (poor.u_gold, poor.u)
    same = await right.weighed(right.gold)
    assert (same.search_gap, same.search_gap_se, same.verdict) == (0.0, 0.0, "none")
    assert same.u == same.u_gold


async def test_gold_and_zero_shot_are_scored_once_for_a_case(tmp_path: Path, scorer: ScorerClient) -> None:
    counting = Counting(scorer)
    case = await case_of(data_of(tmp_path, 40), 16, counting)
    before = counting.num_scored
    first, second = np.arange(16) % 2, np.arange(16) // 8
    await case.weighed(first)
    assert counting.num_scored - before == 1 + 3 * 3  # the zero-shot pass, and three labellings on three orders
    await case.weighed(second)
    assert counting.num_scored - before == 1 + 4 * 3
    for labels in (first, second, case.gold):
        await case.weighed(labels)
    assert counting.num_scored - before == 1 + 4 * 3


@pytest.mark.slow
async def test_rows_are_used_again_and_made_again_for_other_orders(tmp_path: Path, scorer: ScorerClient) -> None:
    counting, data = Counting(scorer), data_of(tmp_path / "data", 40)

    async def found(*searches: str, num_orders: int = 3) -> dict[str, dict[str, Any]]:
        plan = BenchPlan(searches, (12,), num_test=8, weighing=WeighPlan(num_orders))
        with RunProgress(Terminal(), "bench", []) as progress:
            rows = (await run_bench(tmp_path / "bench.json", counting, [data], plan, progress, resume=True)).searches
        return {row.search: row.to_dict() for row in rows}

    first = await found("blocks", "zero_shot", "gold")
    num_scored = counting.num_scored
    assert await found("blocks", "zero_shot", "gold") == first
    assert counting.num_scored == num_scored
    # Another search is made beside them, with the same U of gold and of zero-shot.
    more = await found("blocks", "zero_shot", "growing", "gold")
    assert {name: row for name, row in more.items() if name != "growing"} == first
    for name in ("u_gold", "u_zero_shot"):
        assert len({row["weighed"][name] for row in more.values()}) == 1
    assert more["gold"]["weighed"]["u"] == more["growing"]["weighed"]["u_gold"]
    assert more["zero_shot"]["weighed"]["u"] == more["growing"]["weighed"]["u_zero_shot"]
    other = await found("gold", num_orders=2)
    assert other["gold"]["weighed"]["u"] != first["gold"]["weighed"]["u"]


@pytest.mark.slow
def test_no_search_is_changed_by_permuted_gold_labels(icm: Icm, tmp_path: Path, url: str) -> None:
    found = []
    for gold_seed in (None, 1):
        task = task_of(tmp_path / f"data-{gold_seed}", 40, planted.TASK, gold_seed)
        out = tmp_path / f"bench-{gold_seed}.json"
        command = ["search-bench", "--scorer", url, "--out", out, "--tasks", task, "--sizes", 16, "--test-size", 8]
        assert icm(*command, "--methods", "blocks,zero_shot,growing,joint,bootstrap,gold").code == 0
        found.append({row["search"]: row for row in json.loads(out.read_text())["searches"]})
    golds = [rows.pop("gold") for rows in found]
    assert golds[0]["labels"] != golds[1]["labels"]
    for name, row in found[0].items():
        other = found[1][name]
        assert [row[field] for field in ("labels", "tokens", "num_passes")] == [
            other[field] for field in ("labels", "tokens", "num_passes")
        ]
        assert row["weighed"]["u"] == other["weighed"]["u"]
        assert row["weighed"]["u_zero_shot"] == other["weighed"]["u_zero_shot"]
        assert row["weighed"]["u_gold"] != other["weighed"]["u_gold"]


def weighed(us: Sequence[float], gold: Sequence[float]) -> Weighed:
    return Weighed.of(OrderUs(list(us), list(us)), OrderUs(list(gold), list(gold)), OrderUs([0.5] * len(us), [0.0]))


US = st.lists(st.tuples(st.integers(-99, 99), st.integers(-99, 99)), min_size=2, max_size=6)


@given(US, st.integers(-5, 5))
def test_a_gap_is_paired_and_changes_its_sign_with_the_two_labellings(us: list[tuple[int, int]], shift: int) -> None:
    found, gold = ([pair[k] / 64 for pair in us] for k in (0, 1))
    one, other = weighed(found, gold), weighed(gold, found)
    assert one.search_gap == pytest.approx(-other.search_gap)
    assert one.search_gap == pytest.approx(one.u_gold - one.u)
    assert one.search_gap_se == pytest.approx(other.search_gap_se)
    assert (one.verdict == "none") == (abs(one.search_gap) <= 2 * one.search_gap_se)
    opposite = {"none": "none", "search gap": "objective gap", "objective gap": "search gap"}
    assert other.verdict == opposite[one.verdict]
    # An order that is easier for both changes neither the gap nor its error.
    moved = weighed([u + shift * k for k, u in enumerate(found)], [u + shift * k for k, u in enumerate(gold)])
    assert (moved.search_gap, moved.search_gap_se) == pytest.approx((one.search_gap, one.search_gap_se))


def test_verdicts_and_what_stands_in_tables() -> None:
    assert [verdict_of(gap, 0.05) for gap in (0.11, 0.1, 0.0, -0.1, -0.11)] == [
        *("search gap", "none", "none", "none", "objective gap")
    ]
    search, objective = weighed([0.5, 0.7], [0.8, 1.0]), weighed([0.5, 0.7], [0.2, 0.4])
    unclear = weighed([0.5, 0.7], [0.7, 0.6])
    assert GapSummary.of([search]).text() == "+0.300 ± 0.000\nsearch gap"
    assert GapSummary.of([unclear]).text() == "+0.050 ± 0.150\nnone"
    several = GapSummary.of([search, search, unclear, objective])
    assert several.text() == "+0.175 [-0.30, +0.30]\nsearch 2/4\nobjective 1/4"
    assert several.verdicts == {"search gap": 2, "none": 1, "objective gap": 1}
    assert GapSummary.of([unclear, unclear]).text() == "+0.050 [+0.05, +0.05]\nnone"


def test_one_order_has_no_error() -> None:
    with pytest.raises(RequestError, match="2 orders or more"):
        WeighPlan(1)
