"""`icm train sft`: a mistake is one line before any training; a whole one makes a model that `icm eval` reads."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tests import planted
from tests.finished import finished_run
from tests.icm_command import Icm, check_refused

from icm_trainer.models.base_model import BaseModel


@pytest.fixture
def task(tmp_path: Path) -> Path:
    return planted.write_task(tmp_path / "task", 48)


def test_mistakes_are_told_before_any_training(icm: Icm, task: Path, tiny: BaseModel, tmp_path: Path) -> None:
    out, giant = tmp_path / "out", tmp_path / "giant"
    shutil.copytree(tiny.folder, giant)
    config = json.loads((giant / "config.json").read_text())
    (giant / "config.json").write_text(json.dumps(config | {"intermediate_size": 10**10}))
    by_gold = ("train", "sft", "--task", task, "--from-gold", "--out", out, "--base", tiny.folder)
    for options, *says in (
        (("--device", "cuda"), "sees no GPU here; use --device cpu"),
        (("--rate", "0"), "Invalid value for '--rate'"),
        (("--rank", "65"), "rank 65 is too high for", "its narrowest layer has 64"),
        (("--text-tokens", "8"), "48 of 48 texts are longer than 8 tokens", "let --cut take off their beginning"),
        (("--preset", "tpu"), "no preset 'tpu': choose one of cpu, gpu, paper"),
        (("--field", "label"), "--from-gold and --field exclude each other"),
        (("--base", tmp_path), "is not a model"),
        (("--base", "lab-tiny"), "no model 'lab-tiny'"),
        (("--base", giant, "--full"), "a training, with its checkpoints, needs", "GB free: make room"),
        (("--seed", "4294967296"), "Invalid value for '--seed'"),
    ):
        check_refused(icm(*by_gold, *options), 2, *says)
        assert not out.exists()
    check_refused(icm("train", "sft", tmp_path / "nope", "--out", out), 2, "nope: there is neither a run nor a file")
    check_refused(icm("train", "sft", "--from-gold", "--out", out), 2, "name the task of these labels with --task")
    found = finished_run(tmp_path / "found")
    check_refused(icm("train", "sft", found, "--out", out), 2, "no model 'fake'", "name another by --base")
    spaced = planted.write_task(tmp_path / "spaced", task=planted.TASK.replace("Kind:", "Kind: ").replace('" ', '"'))
    check_refused(icm(*by_gold, "--task", spaced), 2, "merges with the end of prompt 0")


@pytest.mark.slow
def test_a_model_is_made_judged_and_lost_with_its_base(
    icm: Icm, task: Path, tiny: BaseModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, out = tmp_path / "base", tmp_path / "out"
    shutil.copytree(tiny.folder, base)
    made = icm("train", "sft", "--task", task, "--from-gold", "--first", "24", "--base", base, "--out", out,
               "--epochs", "2", "--merge", "--threads", "1")  # fmt: skip
    assert made.code == 0, made
    assert "too few labels to hold any out" in made.err
    assert (out / "merged/model.safetensors").stat().st_size > 0
    judged = icm("eval", "--model", out, "--task", task, "--scorer", "fake:")
    assert judged.code == 0, judged
    figures = json.loads((out / "eval.json").read_text())
    assert list(figures["figures"]) == ["zero_shot", "many_shot", "tuned"]
    assert figures["num_test"] == 24
    check_refused(icm("eval", "--model", out, out), 2, "name either a run, or the folder of a tuned model")
    check_refused(icm("train", "sft", "--task", task, "--from-gold", "--base", out, "--out", tmp_path / "second"), 2,
                  "holds an adapter and no base model")  # fmt: skip
    (out / "adapter_model.safetensors").rename(tmp_path / "kept")
    check_refused(icm("train", "merge", out), 2, "there is no adapter: adapter_model.safetensors is missing")
    (tmp_path / "kept").rename(out / "adapter_model.safetensors")
    (base / "config.json").write_text((base / "config.json").read_text().replace("0.2", "0.3"))
    check_refused(icm("train", "merge", out), 2, "holds an adapter of another base model")
    shutil.rmtree(base)
    check_refused(icm("train", "merge", out), 2, "holds an adapter of", "which is missing")
