"""Held-out labels stop a training before it memorises wrong ones."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from icm_annealer.console.progress import RunProgress
from icm_annealer.console.terminal import Terminal
from icm_trainer.learning.checkpoint import LogRow
from icm_trainer.learning.training import best_look
from icm_trainer.models.base_model import BaseModel
from icm_trainer.sft.classifier import TunedClassifier
from icm_trainer.sft.job import SftJob
from icm_trainer.sft.settings import SftSettings
from icm_trainer.sft.sources import LabelOptions, read_labels


def test_the_best_look_agrees_most_and_is_the_last_of_equals() -> None:
    figures = [(0.5, 0.8), (0.3, 0.9), (0.28, 0.9), (0.32, 0.9), (0.34, 0.9), (0.1, 0.8)]
    log = [
        LogRow(step=number, epoch=0.0, loss=0.0, held_out_loss=loss, held_out_agreement=agreement)
        for number, (loss, agreement) in enumerate(figures, start=1)
    ]
    best = [best_look(log[:num]) for num in range(1, 7)]
    assert [row and row.step for row in best] == [1, 2, 3, 4, 4, 4]
    assert best_look([LogRow(step=1, epoch=0.0, loss=0.0)]) is None


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_a_training_stops_before_wrong_labels_are_memorised(tmp_path: Path) -> None:
    """Of 200 labels 30 % are wrong at random; the last weights know many of these by heart."""
    gold = read_labels(LabelOptions(task="lab-preferences", from_gold=True))
    names, rng = gold.task.label_names, np.random.default_rng(0)
    order = rng.permutation(len(gold.rows))
    learnt, unseen = ([gold.rows[number] for number in part] for part in (order[:200], order[200:400]))
    other = dict(zip(names, reversed(names), strict=True))
    noisy = replace(gold, rows=[row._replace(label=other[row.label]) if rng.random() < 0.3 else row for row in learnt])
    base = BaseModel.find("lab-large", tmp_path / "cache", print)
    right = {}
    for share in (0.0, 0.2):
        settings = SftSettings.of("cpu", full=True, rate=1e-3, epochs=12, held_out=share, threads=1)
        prepared = SftJob(noisy, base, settings, tmp_path / str(share)).prepare()
        record = asyncio.run(prepared.run(RunProgress(Terminal(quiet=True), "", [])))
        tuned = TunedClassifier.load(tmp_path / str(share), tmp_path)
        answers = tuned.logprobs([row.example.text for row in unseen]).argmax(axis=1)
        right[share] = np.mean([names[k] == row.label for k, row in zip(answers, unseen, strict=True)])
        assert record.result is not None
        assert (record.result.steps < record.num_steps) == bool(share)
    assert right[0.2] > right[0.0] + 0.03
