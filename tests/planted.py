"""Made data in which the fake engine can find something: examples of one class share words, those of two do not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from icm_annealer.data.examples import Loaded, load_examples
from icm_annealer.data.task import LoadedTask, load_task

WARM = ["red", "warm", "sun", "fire", "flame", "heat", "ember", "glow"]
COLD = ["blue", "cold", "ice", "frost", "snow", "chill", "sleet", "hail"]

TASK = """\
name: planted
template: "Words: {words}\\nKind:"
labels:
  hot: " hot"
  cool: " cool"
data: data.jsonl
gold: label
"""


def rows(num: int, seed: int = 0) -> list[dict[str, Any]]:
    """As many of either class, shuffled: id, words, label (gold), pair (two neighbours of different class)."""
    rng = np.random.default_rng(seed)
    made = []
    for number in range(num):
        label, words = (("hot", WARM), ("cool", COLD))[number % 2]
        text = " ".join(rng.choice(words, 4, replace=False))
        made.append({"id": f"row-{number}", "words": text, "label": label, "pair": f"pair-{number // 2}"})
    return [made[i] for i in rng.permutation(num)]


def write_task(folder: Path, num: int = 24, *, task: str = TASK, seed: int = 0) -> Path:
    """`task.yaml` and `data.jsonl` in `folder`; returns the task file."""
    folder.mkdir(parents=True, exist_ok=True)
    write_rows(folder / "data.jsonl", rows(num, seed))
    (folder / "task.yaml").write_text(task, encoding="utf-8")
    return folder / "task.yaml"


def write_rows(path: Path, data: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in data), encoding="utf-8")


def load(task_file: Path) -> tuple[LoadedTask, Loaded]:
    loaded = load_task(str(task_file))
    path = loaded.data_path
    assert path is not None
    return loaded, load_examples(path, loaded.task)


def right(labels: npt.NDArray[np.int64], gold: npt.NDArray[np.int64]) -> float:
    """Share of right labels of two, up to exchanging their names."""
    share = float((labels == gold).mean())
    return max(share, 1.0 - share)
