"""A run's labels put to the test on examples that it did not label."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from tests import planted
from tests.finished import PAIRS

from icm_annealer.console.progress import RunProgress
from icm_annealer.console.terminal import Terminal
from icm_annealer.core.arrays import Ints
from icm_annealer.core.estimate import Estimate
from icm_annealer.data.examples import Example, Loaded, labels_of
from icm_annealer.evaluation.run_evaluation import EvaluationPlan, HeldOut, Shots, evaluate_run, unseen
from icm_annealer.reporting.evaluation_table import print_evaluation
from icm_annealer.runs.schema.evaluation import Evaluation
from icm_client import RequestError, ScorerClient


def ex(id_: str, text: str, group: str | None = None) -> Example:
    return Example(id_, text, group, {})


def ids(examples: Sequence[Example]) -> list[str]:
    return [example.id for example in examples]


def test_what_was_labelled_is_never_tested() -> None:
    """Not under another id either, nor what a rule ties to it."""
    pool = [ex("0", "a", "g"), ex("1", "b", "g"), ex("2", "a", "h"), ex("3", "c", "h"), ex("4", "d"), ex("5", "e")]
    loaded = Loaded(pool, dict.fromkeys("01234", "x"))
    assert ids(unseen(loaded, [pool[0]]).examples) == ["4"]  # 5 has no gold label
    # In another file the same ids and groups may be other examples; the same text is not.
    other = [ex("0", "f", "g"), ex("1", "a"), ex("2", "a", "k"), ex("3", "g", "k")]
    assert ids(unseen(Loaded(other, dict.fromkeys("0123", "x")), [pool[0]]).examples) == ["0"]


def test_nothing_left_to_test_is_reported() -> None:
    pool = [ex("0", "a"), ex("1", "b")]
    with pytest.raises(RequestError, match=r"that are not labelled yet \(1\) none has a gold label"):
        unseen(Loaded(pool, {"0": "x"}), [pool[0]])


async def evaluated(
    scorer: ScorerClient, task_file: Path, found: Ints | None = None, *, know_gold: bool = True, **plan: int
) -> Evaluation:
    """The first 24 planted examples are shots, with their gold labels or those `found`; the others are the test."""
    loaded_task, loaded = planted.load(task_file)
    task = loaded_task.task
    ordered = sorted(loaded.examples, key=lambda example: example.group or "")
    shots, test = ordered[:24], ordered[24:]
    gold = labels_of(shots, loaded.gold, task)
    given, certainty = gold if found is None else found, np.linspace(0.5, 1, 24)
    made = Shots(shots, given, certainty, gold if know_gold else np.full(24, -1), np.zeros(24, dtype=bool))
    held_out = HeldOut(test, loaded.gold)
    with RunProgress(Terminal(quiet=True), "eval", task.label_names) as progress:
        return await evaluate_run("a run", made, held_out, task, scorer, EvaluationPlan(**plan), progress)


async def test_right_labels_recover_the_whole_gap_and_wrong_ones_lose_more(
    tmp_path: Path, scorer: ScorerClient
) -> None:
    task_file = planted.write_task(tmp_path, 64)
    right = await evaluated(scorer, task_file)
    assert right.figures["icm"]["raw"]["accuracy"].value >= 0.95
    assert right.figures["icm"]["raw"]["auroc"].value >= 0.95
    assert right.figures["icm"]["raw"]["accuracy"] == right.figures["gold"]["raw"]["accuracy"]
    assert right.gap_recovered["raw"] == Estimate(1.0, 1.0, 1.0)
    assert right.label_accuracy is not None
    assert right.label_accuracy.value == 1.0
    assert right.certainty is not None
    assert (right.certainty.num, right.certainty.risks[-1].risk.value) == (24, 0.0)
    loaded_task, loaded = planted.load(task_file)
    wrong = await evaluated(scorer, task_file, 1 - labels_of(loaded.examples[:24], loaded.gold, loaded_task.task))
    assert wrong.figures["icm"]["raw"]["accuracy"].value <= 0.05
    assert wrong.gap_recovered["raw"].value < 0


async def test_without_gold_shots_no_gap_is_claimed(tmp_path: Path, scorer: ScorerClient) -> None:
    evaluation = await evaluated(scorer, planted.write_task(tmp_path, 40), know_gold=False)
    assert set(evaluation.figures) == {"zero_shot", "icm"}
    assert evaluation.gap_recovered == {}
    assert evaluation.label_accuracy is None
    assert evaluation.certainty is None


async def test_seeds_draw_examples_and_test_examples(tmp_path: Path, scorer: ScorerClient) -> None:
    evaluation = await evaluated(scorer, planted.write_task(tmp_path, 64), num_seeds=3, num_test=12, num_examples=8)
    assert (evaluation.num_examples, evaluation.num_test, evaluation.num_unseen) == (8, 12, 40)
    seeds = evaluation.seeds
    assert [seed.seed for seed in seeds] == [0, 1, 2]
    values = [seed.figures["zero_shot"]["raw"]["brier"].value for seed in seeds]
    assert len(set(values)) > 1
    overall = evaluation.figures["zero_shot"]["raw"]["brier"]
    assert overall.value == sorted(values)[1]
    assert min(values) <= overall.low <= overall.high <= max(values)
    assert "seed" in evaluation.intervals
    again = await evaluated(scorer, tmp_path / "task.yaml", num_seeds=1, first_seed=2, num_test=12, num_examples=8)
    assert again.seeds[0].figures["icm"]["raw"]["accuracy"] == seeds[2].figures["icm"]["raw"]["accuracy"]


async def test_groups_stay_together_and_say_so(tmp_path: Path, scorer: ScorerClient) -> None:
    evaluation = await evaluated(scorer, planted.write_task(tmp_path, 64, task=PAIRS), num_test=11)
    assert evaluation.num_test == 12  # 11 would cut a pair
    assert "groups" in evaluation.intervals


async def test_calibration_changes_no_ranking_of_two_labels(tmp_path: Path, scorer: ScorerClient) -> None:
    evaluation = await evaluated(scorer, planted.write_task(tmp_path, 40))
    for method in ("zero_shot", "icm", "gold"):
        assert evaluation.figures[method]["raw"]["auroc"] == evaluation.figures[method]["calibrated"]["auroc"]


@pytest.mark.parametrize("plan", [{}, {"num_seeds": 2}])
async def test_the_table_fits_a_terminal(tmp_path: Path, scorer: ScorerClient, plan: dict[str, int]) -> None:
    evaluation = await evaluated(scorer, planted.write_task(tmp_path, 40), **plan)
    console = Terminal(width=80, record=True, force_terminal=True, file=(tmp_path / "out").open("w"))
    other = evaluation.model.model_copy(update={"name": "another", "digest": "x"})
    print_evaluation(console, evaluation, other)
    text = console.export_text()
    assert all(len(line) <= 80 for line in text.splitlines())
    value = evaluation.figures["icm"]["calibrated"]["brier"].value
    assert not math.isnan(value)
    assert f"{value:.3f} [" in text
    assert "another model, another" in text
    assert evaluation.certainty is not None
    assert "Their certainty, right against wrong: AUROC -, ECE 0." in text
    half = evaluation.certainty.risks[9]
    assert f"50% >= {half.certainty:.2f} {half.risk}" in " ".join(text.split())
    assert ("All seeds have the same test examples" in text) == (plan == {"num_seeds": 2})
