"""The loss of Bradley and Terry, and a whole training: what it writes, that others read the same rewards of it, that a
killed one ends with the same weights."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.labelled import planted_labels
from tests.trained import Killing, run_stages, stages

from icm_annealer.data.task import Task
from icm_annealer.evaluation.metrics import Resamples
from icm_client.contract.errors import RequestError
from icm_trainer.models.base_model import BaseModel
from icm_trainer.models.label_tokens import prompts_of
from icm_trainer.rm.judged import pair_figures
from icm_trainer.rm.objective import PairObjective
from icm_trainer.rm.record import RmRecord, read_used_pairs
from icm_trainer.rm.reward_model import RewardModel
from icm_trainer.rm.rows import PairRows
from icm_trainer.sft.record import TRAINING, SftRecord, read_record

ALIASES = Task(
    name="t", template="{a}", labels={"other": " object", "good": [" naïve 東京", " living"], "year": " 2024 größer"}
)


def slow_reward(model: Any, ids: tuple[int, ...], labels: Any, better: int) -> Any:
    """By the definition: one text at a time, unpadded, every label's tokens one after another."""
    import torch

    def of_label(paths: Any) -> Any:
        found = []
        for path in paths:
            logits = model(torch.tensor([[*ids, *path]])).logits[0].log_softmax(-1)
            found.append(sum(logits[len(ids) + k - 1, token] for k, token in enumerate(path)))
        return torch.stack(found).logsumexp(0)

    values = [of_label(paths) for paths in labels]
    others = [value for number, value in enumerate(values) if number != better]
    return values[better] - torch.stack(others).logsumexp(0)


def test_the_loss_and_its_gradient_are_those_of_bradley_and_terry(tiny: BaseModel) -> None:
    import torch

    model = tiny.load()
    texts = ["Word: salmon\nGroup:", "Word: a longer text about the hammer\nGroup:", "is\nGroup:"]
    prompts = prompts_of(texts, ALIASES, tiny.tokenizer)
    pairs = np.array([[0, 1], [2, 0], [1, 2]])
    rows = PairRows(prompts, pairs, np.array([False, False, True]), 0)
    objective = PairObjective(model, rows, better=1)
    loss = objective.loss(np.array([0, 1]))
    rewards = [slow_reward(model, prompt.ids, prompt.labels, 1) for prompt in prompts]
    expected = sum(torch.log1p(torch.exp(rewards[bad] - rewards[good])) for good, bad in pairs[:2])
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), abs=1e-5)
    weights = model.model.embed_tokens.weight
    (found,), (slow,) = torch.autograd.grad(loss, weights), torch.autograd.grad(expected, weights)
    assert slow.abs().max() > 1e-3
    assert torch.allclose(found, slow, atol=1e-5)
    seen = objective.look()
    assert seen is not None
    margin = float((rewards[1] - rewards[2]).detach())
    assert seen.loss == pytest.approx(np.log1p(np.exp(-margin)), abs=1e-5)
    assert seen.agreement == float(margin > 0)


class Failing(Killing):
    """Fails where a training begins."""

    def expect(self, total_steps: float) -> None:
        raise ZeroDivisionError


def test_two_stages_replace_both_models_when_the_first_training_begins(tiny: BaseModel, tmp_path: Path) -> None:
    """Or the last one, of other labels, would be continued after a stop."""
    made = stages(tiny, tmp_path / "out")
    made.job.prepare()
    assert (made.job.out / TRAINING).exists()
    with pytest.raises(ZeroDivisionError):
        asyncio.run(made.run(lambda stage: Failing(None), overwrite=True))
    assert not (made.job.out / TRAINING).exists()
    assert (made.first_folder / TRAINING).exists()


@pytest.mark.slow
def test_a_killed_training_of_two_stages_ends_with_the_same_weights(tiny: BaseModel, tmp_path: Path) -> None:
    """It is killed in its last stage, and what peft loads of it gives the same rewards as we do."""
    from peft import AutoPeftModelForCausalLM

    first, last = run_stages(stages(tiny, tmp_path / "whole"))
    assert first.result is not None
    steps = first.result.steps + 1 + 3  # the batch of texts that are judged counts as a step
    program = [sys.executable, "-m", "tests.trained", str(tiny.folder), str(tmp_path / "killed"), str(steps), "rm"]
    killed = subprocess.run(program, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert json.loads((tmp_path / "killed/checkpoint/state.json").read_text())["step"] > 0
    resumed = run_stages(stages(tiny, tmp_path / "killed"), resume=True)
    assert last.result is not None
    assert resumed.last.result is not None
    assert resumed.last.result.log == last.result.log
    for name in ("pairs.jsonl", "adapter_model.safetensors"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()

    folder = tmp_path / "whole"
    assert last.pairs.num == len(read_used_pairs(folder)) == last.pairs.num_first + 16
    model = RewardModel.load(folder, tiny.folder)
    texts = planted_labels(6).texts
    ours, others = model.rewards(texts), AutoPeftModelForCausalLM.from_pretrained(folder).eval()
    prompts = prompts_of(texts, last.task, tiny.tokenizer)
    by_peft = [float(slow_reward(others, prompt.ids, prompt.labels, 0).detach()) for prompt in prompts]
    assert ours == pytest.approx(by_peft, abs=1e-4)
    untuned = model.untuned(folder, tiny.folder, print).rewards(texts)
    assert np.abs(ours - untuned).max() > 0.5
    card = (folder / "README.md").read_text()
    assert "16 were judged by a first reward model" in card
    with pytest.raises(RequestError, match=r"holds no classifier .icm train sft., but a model of `icm train rm`"):
        read_record(folder, SftRecord)
    assert read_record(folder, RmRecord).better == "hot"


def test_figures_of_pairs() -> None:
    """Right in 3 of 4 pairs, by going by length alone."""
    margins, lengths = np.array([1.0, 2.0, 1.0, -2.0]), np.array([10.0, 20.0, 10.0, -20.0])
    figures = pair_figures(margins, lengths, Resamples(np.arange(4), num=50), is_grouped=False)
    assert figures.accuracy.value == 0.75
    assert (figures.accuracy_longer.value, figures.accuracy_shorter.value) == (1.0, 0.0)
    assert (figures.prefers_longer.value, figures.length_correlation.value) == (1.0, pytest.approx(1.0))
    sure = 1 / (1 + np.exp(-margins))
    assert figures.brier.value == pytest.approx((2 * (1 - sure) ** 2).mean())
    other = pair_figures(margins, lengths[::-1].copy(), Resamples(np.arange(4), num=50), is_grouped=True)
    assert abs(other.length_correlation.value) < 1.0
