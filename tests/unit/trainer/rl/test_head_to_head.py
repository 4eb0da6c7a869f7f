"""Which file holds the figures against which model."""

from __future__ import annotations

import shutil
from pathlib import Path

from icm_annealer.core.estimate import Estimate
from icm_annealer.runs.directory import RunDir
from icm_trainer.rl.head_to_head import EVALUATION, HeadToHead, Opponent, evaluation_file, read_evaluations
from icm_trainer.rl.job import weights_digest


def found_against(other: Path) -> HeadToHead:
    half = Estimate(0.5, 0.4, 0.6)
    return HeadToHead(
        opponent=Opponent(folder=str(other.resolve()), digest=weights_digest(other, "")),
        judge="judge",
        judge_digest="",
        shared_pairs=0.0,
        num_prompts=1,
        samples=1,
        sides=[],
        win_rate=half,
        win_rate_longer=half,
        win_rate_not_longer=half,
    )


def test_models_of_one_name_do_not_share_a_file(tmp_path: Path) -> None:
    policy, one, other = tmp_path / "policy", tmp_path / "one/model", tmp_path / "other/model"
    policy.mkdir()
    assert evaluation_file(policy, None).name == EVALUATION
    for folder in (one, other):
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_text(str(folder))
        RunDir(policy).write(evaluation_file(policy, folder).name, found_against(folder))
    assert [evaluation_file(policy, folder).name for folder in (one, other)] == [
        "rl-eval-model.json",
        "rl-eval-model-2.json",
    ]
    assert [found.opponent and Path(found.opponent.folder) for found in read_evaluations(policy)] == [other, one]
    shutil.move(other, tmp_path / "moved/model")
    assert evaluation_file(policy, tmp_path / "moved/model").name == "rl-eval-model-2.json"
