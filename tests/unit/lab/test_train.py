"""A killed training resumes, and the model learns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from icm_lab.family import ModelSize
from icm_lab.train import LOG, train
from icm_lab.training_schedule import SCHEDULES, Stage, TrainingSchedule

TINY = ModelSize("tiny", 1, 16, 1)
SHORT = TrainingSchedule(
    (Stage(4, 6, 4, 0.0, noisy=False), Stage(4, 4, 6, 1.0, noisy=True)), rate=1e-2, warm_up=2, report_steps=2
)


class Killed(Exception):  # noqa: N818
    """Stands for a signal that cannot be caught."""


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_a_killed_training_ends_with_the_same_weights_and_log(tmp_path: Path) -> None:
    import torch

    whole = train(TINY, SHORT, tmp_path / "whole")

    def kill(row: dict[str, Any]) -> None:
        if row["step"] == 6:
            raise Killed

    with pytest.raises(Killed):
        train(TINY, SHORT, tmp_path / "killed", on_row=kill, checkpoint_s=0)
    resumed = train(TINY, SHORT, tmp_path / "killed")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    logs = [
        [{k: v for k, v in json.loads(line).items() if k != "cpu_s"} for line in (folder / LOG).open()]
        for folder in (tmp_path / "whole", tmp_path / "killed")
    ]
    assert logs[0] == logs[1]
    assert [row["step"] for row in logs[0]] == [2, 4, 6, 8]


def test_a_schedule_goes_from_truth_to_the_even_mix() -> None:
    for schedule in SCHEDULES.values():
        evenness = [schedule.batch(step).mix.evenness for step in range(schedule.steps)]
        assert evenness[0] == 0
        assert evenness[-1] == 1
        assert evenness == sorted(evenness)
        rates = [schedule.rate_at(step) for step in range(schedule.steps)]
        assert max(rates) == schedule.rate
        last = [schedule.batch(step).mix.is_last for step in range(schedule.steps)]
        assert last == sorted(last)
        assert 0 < rates[last.index(True) - 1] < schedule.rate / 20
        assert rates[-1] == schedule.rate / 5
    with pytest.raises(IndexError):
        SHORT.batch(8)
