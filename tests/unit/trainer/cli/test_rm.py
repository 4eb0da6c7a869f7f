"""`icm train rm`: a mistake is one line before any training; two stages make models that `icm train eval-rm` judges."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tests import planted
from tests.icm_command import Icm, check_refused

from icm_trainer.models.base_model import BaseModel


def test_mistakes_are_told_before_any_training(icm: Icm, tiny: BaseModel, tmp_path: Path) -> None:
    out, task = tmp_path / "out", planted.write_task(tmp_path / "task", 48)
    pairs, labels, groups = tmp_path / "pairs.jsonl", tmp_path / "labels.jsonl", tmp_path / "groups.jsonl"
    planted.write_rows(pairs, [{"chosen": "the same", "rejected": "the same", "prompt": "p"}])
    planted.write_rows(labels, [{"id": f"row-{number}", "label": "hot"} for number in (0, 2)])
    few = tmp_path / "few.jsonl"
    planted.write_rows(few, planted.rows(20))
    alone = [{"text": f"Words: {label}\nKind:", "label": label, "group": label} for label in ("hot", "cool")]
    planted.write_rows(groups, [row | {"id": row["label"]} for row in alone])
    grouped = planted.write_task(tmp_path / "grouped", task=planted.TASK + "group: pair\n")
    gold = ("--task", task, "--from-gold")
    for options, *says in (
        ((pairs,), "no pairs to learn from: all chosen texts are equal to the rejected ones"),
        ((pairs, "--from-gold"), "holds pairs, not labels"),
        ((labels, "--task", task), "all 2 labels are 'hot'"),
        ((groups, "--task", grouped), "no pairs to learn from: of 2 labels none is a good one that stands against"),
        ((*gold, "--pairing", "groups"), "has no groups: use --pairing examples"),
        ((*gold, "--pairing", "triples"), "choose one of responses, groups, examples"),
        ((*gold, "--response", "words,reply"), "--response: no field 'reply' in the row"),
        ((*gold, "--better", "tepid"), "--better: 'tepid' is none of hot, cool"),
        ((*gold, "--two-stage", "8"), "all rows of the data have a label already"),
        ((few, *gold, "--two-stage", "8"), "all rows of the data have a label already"),
        ((*gold, "--rank", "65"), "rank 65 is too high for"),
        ((*gold, "--text-tokens", "8"), "texts are longer than 8 tokens"),
    ):
        check_refused(icm("train", "rm", *options, "--out", out, "--base", tiny.folder), 2, *says)
        assert not out.exists()
    out.mkdir()
    planted.write_rows(out / "mine.jsonl", [])
    two_stages = ("--first", "20", "--two-stage", "12", "--epochs", "1", "--threads", "1", "--out", out)
    refused = icm("train", "rm", *gold, *two_stages, "--base", tiny.folder)
    check_refused(refused, 2, "holds mine.jsonl of something else")
    (out / "mine.jsonl").unlink()
    *rows, last = planted.rows(21)
    planted.write_rows(few, [*rows, last | {"words": "sun " * 1000}])
    refused = icm("train", "rm", few, *gold, *two_stages, "--base", tiny.folder)
    check_refused(refused, 2, "1 of 1 texts are longer than 1,024 tokens, the most that", "has 3,014: leave them out")
    assert not (tmp_path / "out-first").exists()
    check_refused(icm("train", "eval-rm", tmp_path), 2, "holds no model of `icm train`")


@pytest.mark.slow
def test_two_stages_are_made_and_judged(icm: Icm, tiny: BaseModel, tmp_path: Path) -> None:
    task, out = planted.write_task(tmp_path / "task", 48), tmp_path / "out"
    command = ("train", "rm", "--task", task, "--from-gold", "--first", "20", "--two-stage", "12")
    command += ("--base", tiny.folder, "--epochs", "1", "--out", out)
    made = icm(*command, "--threads", "1")
    assert made.code == 0, made
    # Killed when the first stage had ended, it goes on with the same number of threads.
    shutil.rmtree(out)
    out.mkdir()
    again = icm(*command, "--resume")
    assert again.code == 0, again
    assert json.loads((out / "training.json").read_text())["settings"]["threads"] == 1
    first, last = (
        json.loads((folder / "training.json").read_text())["pairs"] for folder in (tmp_path / "out-first", out)
    )
    assert first["num"] == last["num_first"] < last["num"]
    planted.write_rows(tmp_path / "bench.jsonl", [{"chosen": "sun", "rejected": "ice", "subset": "short"}])
    for test, expected in ((), range(8, 33)), (("--test", tmp_path / "bench.jsonl"), [1]):
        judged = icm("train", "eval-rm", out, "--task", task, *test)
        assert judged.code == 0, judged
        figures = json.loads((out / "rm-eval.json").read_text())
        assert figures["num_pairs"] in expected
        assert list(figures["figures"]) == ["tuned", "untuned"]
    assert list(figures["by_subset"]) == ["short"]
    check_refused(icm("eval", "--model", out), 2, "holds no classifier", "a model of `icm train rm`")
