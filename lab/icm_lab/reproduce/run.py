"""Makes the rows that the figures are of: model by model, a scorer each, every row saved as soon as it is there."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from icm_annealer.examples import Loaded, load_examples
from icm_annealer.local_scorer import local_scorer
from icm_annealer.passes import Scorer
from icm_annealer.task import Task, load_task
from icm_client import ScorerClient
from icm_client.gathered import gathered
from icm_lab.reproduce.figures import NUM, NUM_TEST, Bar, Figure
from icm_lab.reproduce.methods import METHODS
from icm_lab.reproduce.trial import Trial
from icm_lab.reproduce.verdicts import Row

ROWS = "rows.jsonl"
SEEDS, REAL_SEEDS = 10, 3
"""Seeds of the laboratory's models, and of a real one, which takes minutes a seed."""
AT_ONCE = 3
"""Trials that are made side by side."""
COLLAPSED = 0.1
"""A labelling is called collapsed if one label has less than this share."""
Say = Callable[[str], None]


async def make_rows(figures: Sequence[Figure], out: Path, say: Say) -> list[Row]:
    """All rows of these figures; those that `out` already holds are kept, whatever model made them."""
    kept = _read(out / ROWS)
    bars = list(dict.fromkeys(bar for figure in figures for bar in figure.bars))
    rows: list[Row] = []
    for model in dict.fromkeys(bar.model for bar in bars):
        mine = [bar for bar in bars if bar.model == model]
        missing = [bar for bar in mine if any(_key(bar, seed) not in kept for seed in _seeds(model))]
        if missing:
            say(f"starting a scorer of {model}")
            async with (
                local_scorer(model, lambda what, s: None, log=out / f"{model}.log") as url,
                ScorerClient(url) as scorer,
            ):
                await _make(scorer, missing, kept, out, say)
        rows += [kept[_key(bar, seed)] for bar in mine for seed in _seeds(model)]
    return rows


async def _make(scorer: Scorer, bars: Sequence[Bar], kept: dict[str, Row], out: Path, say: Say) -> None:
    """Seeds side by side: one alone leaves the scorer idle between its passes."""
    data = {task: _load(task) for task in dict.fromkeys(bar.task for bar in bars)}

    async def one(task: str, seed: int) -> None:
        trial: Trial | None = None
        for bar in bars:
            if bar.task == task and _key(bar, seed) not in kept:
                trial = trial or await Trial.open(scorer, *data[task], NUM, NUM_TEST, seed)
                row = await _row(trial, bar, seed)
                kept[_key(bar, seed)] = row
                with (out / ROWS).open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
                say(f"{bar}, seed {seed}: {row['test_right']} of {row['num_test']} right")

    trials = [(task, seed) for task in data for seed in _seeds(bars[0].model)]
    await gathered(lambda trial: one(*trial), trials, AT_ONCE)


async def _row(trial: Trial, bar: Bar, seed: int) -> Row:
    found = await METHODS[bar.method](trial, seed)
    labels = found.labels if found else None
    rate = float(np.mean(labels == 0)) if labels is not None else 0.5
    return {
        "model": bar.model,
        "task": bar.task,
        "method": bar.method,
        "seed": seed,
        "num": len(trial.train),
        "labels_right": int((labels == trial.gold).sum()) if labels is not None else None,
        "num_test": len(trial.gold_test),
        "test_right": await trial.num_right(labels),
        "passes": found.passes if found else 0.0,
        "collapsed": not COLLAPSED < rate < 1 - COLLAPSED,
    }


def _load(name: str) -> tuple[Task, Loaded]:
    loaded_task = load_task(name)
    assert loaded_task.data_path is not None
    return loaded_task.task, load_examples(loaded_task.data_path, loaded_task.task)


def _seeds(model: str) -> range:
    return range(SEEDS if model.startswith("lab-") else REAL_SEEDS)


def _key(bar: Bar, seed: int) -> str:
    return f"{bar} {seed}"


def _read(file: Path) -> dict[str, Row]:
    if not file.exists():
        return {}
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return {_key(Bar(row["model"], row["task"], row["method"]), row["seed"]): row for row in rows}
