"""`icm train rl`, `icm train eval-rl`: mistakes are one line before any training; a judge that took part is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from tests import planted
from tests.icm_command import Icm, check_refused, succeed
from tests.tiny_models import save_tiny_lora

from icm_trainer.models.base_model import BaseModel
from icm_trainer.rl.head_to_head import read_evaluations
from icm_trainer.rl.page import write_page

QUICK = ("--steps", "1", "--batch", "2", "--group-size", "2", "--tokens", "2", "--looks", "1", "--threads", "1")


@pytest.fixture(scope="module")
def reward(tiny: BaseModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a reward model of one step."""
    folder = tmp_path_factory.mktemp("reward")
    task = planted.write_task(folder / "task", 8)
    out = folder / "out"
    options = ("--base", tiny.folder, "--epochs", "1", "--rank", "2", "--threads", "1", "--quiet", "--out", out)
    succeed("train", "rm", "--task", task, "--from-gold", *options)
    return out


def test_mistakes_are_told_before_any_training(icm: Icm, tiny: BaseModel, reward: Path, tmp_path: Path) -> None:
    out, moved, words = tmp_path / "out", tmp_path / "moved", tmp_path / "words.jsonl"
    planted.write_rows(words, [{"words": "unread"}])
    planted.write_rows(tmp_path / "empty.jsonl", [])
    shutil.copytree(reward, moved)
    record = json.loads((moved / "training.json").read_text())
    record["base"]["digest"] = "0" * 64
    (moved / "training.json").write_text(json.dumps(record))
    two = tmp_path / "two"
    shutil.copytree(reward, two)
    record = json.loads((reward / "training.json").read_text())
    record["task"]["template"] = "Question: {question}\nWords: {words}\nKind:"
    (two / "training.json").write_text(json.dumps(record))
    empty = tmp_path / "empty"
    shutil.copytree(reward, empty, ignore=shutil.ignore_patterns("*.safetensors"))
    adapter = save_tiny_lora(tiny.folder, tmp_path / "adapter")
    prompts = ("--prompts", words)
    for folder, options, *says in (
        (tmp_path, prompts, "holds no model of `icm train`"),
        (reward, (), "no prompts: name rows with any field"),
        (reward, ("--prompts", tmp_path / "empty.jsonl"), "no rows, so no prompts"),
        (two, prompts, "no field 'question': the reward model reads"),
        (moved, prompts, "adapter of another base model"),
        (empty, prompts, "there is no adapter: adapter_model.safetensors is missing"),
        (reward, (*prompts, "--base", adapter), "holds an adapter and no base model"),
        (reward, (*prompts, "--rank", "65"), "rank 65 is too high for"),
        (reward, (*prompts, "--tokens", "1023"), "do not fit into the 1,024 tokens"),
        (reward, (*prompts, "--tokens", "1018"), "the reward model in", "reads up to 1,024 tokens"),
        (reward, (*prompts, "--vllm", "gpu:8000"), "'gpu:8000' is not a URL of an endpoint"),
    ):
        check_refused(icm("train", "rl", folder, *options, "--out", out), 2, *says)
        assert not out.exists()
    over = icm("train", "rl", reward, *prompts, "--out", reward, "--overwrite")
    check_refused(over, 2, "holds the reward model, which is needed")
    begun = tmp_path / "story/labels"
    begun.mkdir(parents=True)
    (begun / "journal.jsonl").write_text("")
    check_refused(icm("assistant", "living", "--out", begun.parent), 2, "already holds an assistant: use --resume")


@pytest.mark.slow
def test_a_policy_is_made_and_judged(icm: Icm, tiny: BaseModel, reward: Path, tmp_path: Path) -> None:
    out, rows = tmp_path / "policy", tmp_path / "rows.jsonl"
    planted.write_rows(rows, [{"prompt": "unused: the template begins with the response"}])
    command = ("train", "rl", reward, "--prompts", rows, *QUICK, "--out", out)
    made = icm(*command)
    assert made.code == 0, made
    check_refused(icm(*command), 2, "already holds a model")
    check_refused(icm(*command, "--resume", "--beta", "1"), 2, "another setting beta (0.04, now 1.0)")
    again = icm(*command, "--resume")
    assert "had already ended" in again.err
    judge = ("--judge", reward, "--per-prompt", "3")
    check_refused(icm("train", "eval-rl", out, *judge), 2, "is the reward model that", "took no part")
    other = tmp_path / "judge"
    shutil.copytree(reward, other)
    (other / "rm-eval.json").write_text("{}\n")  # an evaluation beside it makes no other reward model
    check_refused(icm("train", "eval-rl", out, "--judge", other), 2, "is the reward model that", "took no part")
    weights = load_file(other / "adapter_model.safetensors")
    save_file({name: 0.9 * one for name, one in weights.items()}, other / "adapter_model.safetensors")
    evaluated = icm("train", "eval-rl", out, "--judge", other, "--per-prompt", "3", "--json")
    assert evaluated.code == 0, evaluated
    found = json.loads(evaluated.out)
    assert 0 <= found["win_rate"]["low"] <= found["win_rate"]["value"] <= found["win_rate"]["high"] <= 1
    assert found["shared_pairs"] == 1.0
    assert "100% of the judge's pairs are also those of the reward model" in evaluated.err
    assert "Head to head" in (out / "rl.html").read_text()
    assert Path(json.loads((out / "training.json").read_text())["reward"]["folder"]).is_absolute()

    # Any model is a fit opponent; what was found against one that was replaced since is shown no more.
    other_model, task = tmp_path / "classifier", reward.parent / "task/task.yaml"
    options = ("--base", tiny.folder, "--full", "--epochs", "1", "--threads", "1", "--out", other_model)
    made = icm("train", "sft", "--task", task, "--from-gold", *options)
    assert made.code == 0, made
    compared = icm("train", "eval-rl", out, other_model, "--judge", other, "--per-prompt", "3")
    assert compared.code == 0, compared
    assert [one.opponent is None for one in read_evaluations(out)] == [False, True]
    assert "classifier" in write_page(out).read_text()
    weights = load_file(other_model / "model.safetensors")
    save_file({name: 0.9 * one for name, one in weights.items()}, other_model / "model.safetensors")
    assert [one.opponent is None for one in read_evaluations(out)] == [True]
    assert "classifier" not in write_page(out).read_text()
