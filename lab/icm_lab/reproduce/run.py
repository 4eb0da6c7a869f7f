"""Makes the rows of the figures, with one scorer per model. Every row is saved as soon as it is finished."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from icm_annealer.benchmarks.case import Case, TaskData
from icm_annealer.benchmarks.saved_rows import SavedRows
from icm_annealer.data.examples import load_examples
from icm_annealer.data.task import load_task
from icm_annealer.scoring.local_scorer import local_scorer
from icm_annealer.scoring.passes import Scorer
from icm_client import ScorerClient
from icm_client.openai_compat.gathered import gathered
from icm_lab.reproduce.figures import NUM, NUM_TEST, Figure, MethodBar
from icm_lab.reproduce.methods import METHODS, OURS, PUBLISHED
from icm_lab.reproduce.rows import ReproduceRow
from icm_lab.reproduce.trial import Trial

ROWS = "rows.json"
SEEDS, REAL_SEEDS = 10, 3
"""Seeds of the laboratory's models, and of a real one, which takes minutes a seed."""
AT_ONCE = 3
"""Trials that are made side by side."""
COLLAPSED = 0.1
"""A labelling is called collapsed if one label has less than this share."""
Say = Callable[[str], None]


async def make_rows(figures: Sequence[Figure], out: Path, say: Say) -> list[ReproduceRow]:
    """All rows of these figures; those that `out` holds and that were made of the same are not made again."""
    bars = list(dict.fromkeys(bar for figure in figures for bar in figure.bars))
    models = list(dict.fromkeys(bar.model for bar in bars))
    saved = {model: SavedRows(out / ROWS, model, ReproduceRow) for model in models}
    rows: list[ReproduceRow] = []
    for model in models:
        say(f"starting a scorer of {model}")
        async with (
            local_scorer(model, lambda what, s: None, log=out / f"{model}.log") as url,
            ScorerClient(url) as scorer,
        ):
            rows += await model_rows(scorer, [bar for bar in bars if bar.model == model], saved[model], say)
    return rows


async def model_rows(
    scorer: Scorer, bars: Sequence[MethodBar], saved: SavedRows[ReproduceRow], say: Say
) -> list[ReproduceRow]:
    """The rows of one model's bars, seeds side by side: one alone leaves the scorer idle between its passes."""
    data = {task: _load(task) for task in dict.fromkeys(bar.task for bar in bars)}
    model = await scorer.model()

    async def one(task: str, seed: int) -> list[ReproduceRow]:
        case = Case(data[task], NUM, NUM_TEST, seed, model, scorer, "reproduce")
        of = {**case.to_dict(), "searches": [OURS.to_dict(), PUBLISHED.to_dict()]}
        trial: Trial | None = None
        rows: list[ReproduceRow] = []
        for bar in (bar for bar in bars if bar.task == task):
            row = saved.row((*case.key, bar.method), of)
            if row is None:
                trial = trial or await Trial.open(case)
                row = saved.put(await _row(case, trial, bar), of)
                say(f"{bar}, seed {seed}: {row.test_right} of {row.num_test} right")
            rows.append(row)
        return rows

    trials = [(task, seed) for task in data for seed in _seeds(bars[0].model)]
    return [row for rows in await gathered(lambda trial: one(*trial), trials, AT_ONCE) for row in rows]


async def _row(case: Case, trial: Trial, bar: MethodBar) -> ReproduceRow:
    found = await METHODS[bar.method](trial, case.seed)
    labels = found.labels if found else None
    rate = float(np.mean(labels == 0)) if labels is not None else 0.5
    return ReproduceRow(
        **case.key_fields,
        model=bar.model,
        method=bar.method,
        num=len(trial.train),
        labels_right=int((labels == trial.gold).sum()) if labels is not None else None,
        num_test=len(trial.gold_test),
        test_right=await trial.num_right(labels),
        passes=found.passes if found else 0.0,
        collapsed=not COLLAPSED < rate < 1 - COLLAPSED,
        weighed=await case.weighed(labels) if labels is not None and (labels >= 0).all() else None,
    )


def _load(name: str) -> TaskData:
    loaded_task = load_task(name)
    assert loaded_task.data_path is not None
    return TaskData(loaded_task.task, load_examples(loaded_task.data_path, loaded_task.task))


def _seeds(model: str) -> range:
    return range(SEEDS if model.startswith("lab-") else REAL_SEEDS)
