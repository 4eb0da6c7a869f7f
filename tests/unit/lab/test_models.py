"""The shipped weights load, and reach the accuracies in their log."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from icm_annealer.data.task import load_task
from icm_lab.examine import examine
from icm_lab.family import SIZES, WINDOW, weights
from icm_lab.shipping import load_model
from icm_lab.tasks import TASKS
from icm_lab.train import LOG
from icm_lab.training_schedule import SCHEDULES
from icm_lab.vocabulary import save_tokenizer
from icm_lab.worlds import TRUTH
from icm_server.engines.model_store import LAB_WEIGHTS, pull

NUM_SHOTS = 64


@pytest.mark.parametrize("size", SIZES)
def test_the_weights_are_small_and_known(size: str, tmp_path: Path) -> None:
    folder = weights(size)
    file = folder / "model.safetensors"
    assert hashlib.sha256(file.read_bytes()).hexdigest() == LAB_WEIGHTS[size]
    assert file.stat().st_size < 5_000_000
    save_tokenizer(tmp_path, WINDOW)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        assert (folder / name).read_text() == (tmp_path / name).read_text()
    pulled = pull(f"lab-{size}", tmp_path / "cache", lambda text: None)
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        assert (pulled / name).read_bytes() == (folder / name).read_bytes()


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("size", SIZES)
def test_a_model_does_what_its_log_says(size: str) -> None:
    """Rounded to bfloat16, and read anew, it can still do what it could at the end of its training."""
    rows = [json.loads(line) for line in (weights(size) / LOG).read_text().splitlines()]
    assert rows[-1]["step"] == SCHEDULES[size].steps
    logged = {name: late for name, (_, late) in ((n, v) for n, v in rows[-1].items() if "/" in n)}
    assert size == "small" or all(late > 0.95 for name, late in logged.items() if name.endswith(("truth", "inverse")))
    for name, (_, late) in examine(load_model(weights(size)), rows[-1]["shots"], 256).items():
        assert late > 0.9 or logged[name] < 0.95, name


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("task", [task for task in TASKS if task.gold == TRUTH], ids=lambda task: task.name)
def test_gold_shots_of_a_task_are_understood(task: Any) -> None:
    """A task's file, rendered and tokenized as any scorer would, in front of the large model."""
    import torch
    from transformers import AutoTokenizer

    file, rows = load_task(task.name).task, task.rows()
    tokenizer = AutoTokenizer.from_pretrained(weights("large"))
    model = load_model(weights("large"))
    true, false = (tokenizer(text)["input_ids"] for text in (" True", " False"))
    assert len(true) == len(false) == 1
    rng, right = np.random.default_rng(0), []
    for _ in range(24):
        *shots, query = (rows[number] for number in rng.permutation(len(rows))[: NUM_SHOTS + 1])
        texts = [file.render(row) + file.verbalizers[file.label_names.index(row["label"])] for row in shots]
        prompt = file.separator.join([*texts, file.render(query)])
        with torch.inference_mode():
            logits = model(torch.tensor([tokenizer(prompt)["input_ids"]])).logits[0, -1]
        right.append((logits[true[0]] > logits[false[0]]) == (query["label"] == "True"))
    assert np.mean(right) > 0.8
