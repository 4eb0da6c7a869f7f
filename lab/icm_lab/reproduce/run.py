"""Makes the rows of the figures, with one scorer per model. Every row is saved as soon as it is finished."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
from icm_lab.reproduce.claims import Figure, MethodBar
from icm_lab.reproduce.measures import MEASURES
from icm_lab.reproduce.methods import METHODS, OURS, PUBLISHED
from icm_lab.reproduce.rows import ReproduceRow
from icm_lab.reproduce.trainings import Trainings, place_for_trainings
from icm_lab.reproduce.trial import Trial

ROWS = "rows.json"
NUM, NUM_TEST = 96, 96
"""The numbers of examples to label and to test on."""
SEEDS, REAL_SEEDS = 10, 3
"""Seeds of the laboratory's models, and of a real one, which takes minutes a seed."""
AT_ONCE = 3
"""Trials that are made side by side."""
COLLAPSED = 0.1
"""A labelling is called collapsed if one label has less than this share."""
Say = Callable[[str], None]


@dataclass(frozen=True)
class RowMaker:
    """Makes rows, and keeps them in `out`; those that it holds and that were made of the same are not made again."""

    out: Path
    cache: Path
    """Where packaged models are made."""
    say: Say
    num_seeds: int | None = None
    """None for the usual number of a model."""

    async def rows(self, figures: Sequence[Figure]) -> list[ReproduceRow]:
        """All rows of these figures."""
        bars = list(dict.fromkeys(bar for figure in figures for bar in figure.bars))
        models = list(dict.fromkeys(bar.model for bar in bars))
        saved = {model: SavedRows(self.out / ROWS, model, ReproduceRow) for model in models}
        rows: list[ReproduceRow] = []
        for model in models:
            self.say(f"starting a scorer of {model}")
            async with (
                local_scorer(model, lambda what, s: None, log=self.out / f"{model}.log") as url,
                ScorerClient(url) as scorer,
            ):
                rows += await self.model_rows(scorer, [bar for bar in bars if bar.model == model], saved[model])
        return rows

    async def model_rows(
        self, scorer: Scorer, bars: Sequence[MethodBar], saved: SavedRows[ReproduceRow]
    ) -> list[ReproduceRow]:
        """The rows of one model's bars, seeds side by side: one alone leaves the scorer idle between its passes."""
        name = bars[0].model
        data = {task: _load(task) for task in dict.fromkeys(bar.task for bar in bars)}
        model = await scorer.model()
        with place_for_trainings(self.out / f"{name}.trainings") as folder:
            trainings = Trainings(name, folder, self.cache)

            async def one(task: str, seed: int) -> list[ReproduceRow]:
                case = Case(data[task], NUM, NUM_TEST, seed, model, scorer, "reproduce")
                of = {**case.to_dict(), "searches": [OURS.to_dict(), PUBLISHED.to_dict()]}
                trial: Trial | None = None
                rows: list[ReproduceRow] = []
                for bar in (bar for bar in bars if bar.task == task):
                    made_of = of | ({"trainings": trainings.to_dict()} if bar.trains else {})
                    row = saved.row((*case.key, f"{bar.method} {bar.measure}"), made_of)
                    if row is None:
                        trial = trial or await Trial.open(case, data[task], trainings)
                        row = saved.put(await _row(case, trial, bar), made_of)
                        self.say(f"{bar}, seed {seed}: {row.right:g} of {row.num_counted}")
                    rows.append(row)
                return rows

            trials = [(task, seed) for task in data for seed in range(self._num_seeds(name))]
            return [row for rows in await gathered(lambda trial: one(*trial), trials, AT_ONCE) for row in rows]

    def _num_seeds(self, model: str) -> int:
        return self.num_seeds or (SEEDS if model.startswith("lab-") else REAL_SEEDS)


async def _row(case: Case, trial: Trial, bar: MethodBar) -> ReproduceRow:
    found = await METHODS[bar.method].find(trial, case.seed)
    labels = found.labels if found else None
    rate = float(np.mean(labels == 0)) if labels is not None else 0.5
    score = await MEASURES[bar.measure].take(trial, labels)
    weighed = None
    if labels is not None and (labels >= 0).all() and not MEASURES[bar.measure].trains:
        weighed = await case.weighed(labels)
    return ReproduceRow(
        **case.key_fields,
        model=bar.model,
        method=bar.method,
        measure=bar.measure,
        num=len(trial.train),
        right=score.right,
        num_counted=score.num,
        labels_right=int((labels == trial.gold).sum()) if labels is not None else None,
        passes=found.passes if found else 0.0,
        collapsed=not COLLAPSED < rate < 1 - COLLAPSED,
        weighed=weighed,
    )


def _load(name: str) -> TaskData:
    loaded_task = load_task(name)
    assert loaded_task.data_path is not None
    return TaskData(loaded_task.task, load_examples(loaded_task.data_path, loaded_task.task))
