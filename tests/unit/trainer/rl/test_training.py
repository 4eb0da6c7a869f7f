"""A whole training of a policy: a killed one ends with the same weights, and what it releases is near its start."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tests.trained import policy, reward_model, run_policy

from icm_trainer.models.base_model import BaseModel
from icm_trainer.rl.page import write_page

FILES = ("prompts.jsonl", "adapter_model.safetensors")


@pytest.mark.slow
def test_a_killed_training_ends_with_the_same_weights(tiny: BaseModel, tmp_path: Path) -> None:
    """And one that comes above the ceiling keeps the weights of the look before."""
    reward, whole, killed = reward_model(tiny, tmp_path / "reward"), tmp_path / "whole", tmp_path / "killed"
    record = run_policy(policy(tiny, reward, whole))
    assert record.result is not None
    assert [row.step for row in record.log] == [0, 2, 4, 6]
    assert len([one for row in record.log for one in row.by_step]) == 6
    assert record.log[0].figures["kl"] == pytest.approx(0.0, abs=1e-6)
    assert record.kept.figures["kl"] > 1e-3
    program = [sys.executable, "-m", "tests.trained", str(tiny.folder), str(killed), "5", "rl", str(reward)]
    ended = subprocess.run(program, capture_output=True, text=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert 0 < json.loads((killed / "checkpoint/state.json").read_text())["step"] < 6
    resumed = run_policy(policy(tiny, reward, killed), resume=True)
    assert resumed.log == record.log
    for name in FILES:
        assert (killed / name).read_bytes() == (whole / name).read_bytes()

    job = policy(tiny, reward, tmp_path / "held")
    near = replace(job, settings=job.settings.model_copy(update={"kl_ceiling": record.log[1].figures["kl"] * 1.01}))
    held = run_policy(near)
    assert held.result is not None
    assert (held.kept.step, held.log[-1].step, held.result.steps) == (2, 4, 4)
    assert held.alarms[0].code == "kl-ceiling"
    assert "**warning: kl-ceiling.**" in (tmp_path / "held/README.md").read_text()
    page = write_page(tmp_path / "held").read_text()
    assert "kl-ceiling" in page
    assert "Words: ice fire" in page
