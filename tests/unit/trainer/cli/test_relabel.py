"""`icm train relabel`: a mistake is one line before any training; what it writes is exported, shown and trained on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests import planted
from tests.icm_command import Icm, check_refused

from icm_trainer.models.base_model import BaseModel


@pytest.mark.slow
def test_labels_for_all_rows_are_made_and_read_as_a_runs(icm: Icm, tiny: BaseModel, tmp_path: Path) -> None:
    task, out = planted.write_task(tmp_path / "task", 40), tmp_path / "out"
    options = ("train", "relabel", "--task", task, "--from-gold", "--first", "24", "--base", tiny.folder,
               "--threads", "1", "--out", out)  # fmt: skip
    for wrong, *says in (
        (("--first", "40", "--all"), "the data have no other rows"),
        (("--folds", "1"), "Invalid value for '--folds'"),
        (("--rates", "hot=0.6,cool=0.6"), "add up to 1.2"),
        (("--text-tokens", "8"), "texts are longer than 8 tokens"),
    ):
        check_refused(icm(*options, *wrong), 2, *says)
        assert not out.exists()
    texts = tmp_path / "texts.jsonl"
    texts.write_text("".join(json.dumps({"text": f"Words: {word}\nKind:", "label": label}) + "\n"
                             for word, label in (("red", "hot"), ("ice", "cool"))))  # fmt: skip
    check_refused(icm("train", "relabel", texts, "--task", task, "--out", out), 2, "no row of the task's data has")
    made = icm(*options, "--all", "--rounds", "1")
    assert made.code == 0, made
    assert "16 rows to label first" in made.err
    assert "Right by gold:" in made.out
    assert "Of the rows added:" in made.out
    page = (out / "relabelling.html").read_text()
    assert "labels right" in page
    assert "Gold labels took no other part." in page  # besides those learnt from
    exported = icm("export", out, "--format", "jsonl", "--task", task, "--data", task.parent / "data.jsonl")
    assert exported.code == 0, exported
    assert icm("show", out).code == 0
    again = icm(
        "train", "sft", out, "--base", tiny.folder, "--out", tmp_path / "sft", "--epochs", "1", "--threads", "1"
    )
    assert again.code == 0, again
    assert "40 labels" in again.err
    ended = icm(*options, "--all", "--rounds", "1", "--resume")
    assert ended.code == 0, ended
    check_refused(icm(*options, "--all", "--rounds", "2", "--resume"), 2, "was begun with other settings")
