"""The demo: labels examples of a task without gold, then evaluates the labels as shots for held-out examples."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from rich.table import Table

from icm_annealer.benchmarks.case import TaskData, draw_sample
from icm_annealer.console.progress import RunProgress
from icm_annealer.console.terminal import Terminal
from icm_annealer.core.estimate import Estimate
from icm_annealer.data.examples import Loaded
from icm_annealer.data.given_labels import GivenLabels
from icm_annealer.data.task import Task
from icm_annealer.evaluation.calibration import describe_calibration
from icm_annealer.evaluation.intervals import median_over_seeds, seeds_interval
from icm_annealer.evaluation.many_shot import ManyShot, accuracy, random_labels
from icm_annealer.labelling.label_dataset import label_dataset
from icm_annealer.reporting.methods import TITLES
from icm_annealer.reporting.report import render_report
from icm_annealer.reporting.run_report import RunReport, seed_folders
from icm_annealer.runs.atomic_write import make_folder
from icm_annealer.runs.directory import DEMO, OUR_FILES, REPORT, SCORER_LOG, RunDir
from icm_annealer.runs.schema.journal import RunSettings
from icm_annealer.runs.schema.metrics import AnswerMetrics, DemoResults, DemoSeed
from icm_annealer.scoring.passes import Scorer
from icm_annealer.search.base import zero_shot_labels_of
from icm_annealer.searches.settings import Settings
from icm_client.contract.errors import RequestError
from icm_client.contract.wire import ModelInfo
from icm_client.text.counts import counted

METHODS = ("zero_shot", "random_few_shot", "icm", "gold")
EVALUATION_STEPS = 4.0
"""The duration of an evaluation in passes of the search; used only for the time left."""


@dataclass(frozen=True)
class DemoPlan:
    """Options of the demo."""

    num_examples: int = 128
    num_test: int = 200
    num_seeds: int = 1
    first_seed: int = 0


class SeedOutcome(NamedTuple):
    """One seed: its figures, and the model and settings that they were made with."""

    figures: DemoSeed
    model: ModelInfo
    settings: Settings


def prepare_demo(folder: RunDir) -> None:
    """Prepares the folder. An earlier demo is kept until this one begins. Raises RequestError if the folder holds a run
    that does not belong to a demo."""
    make_folder(folder.path)
    for place in (folder, *_seeds_in(folder)):
        _check_is_demos(place)
    folder.prepare(overwrite=True)


def _seeds_in(folder: RunDir) -> list[RunDir]:
    return [RunDir(path) for path in seed_folders(folder.path)]


async def run_seed(
    folder: RunDir,
    loaded: Loaded,
    task: Task,
    scorer: Scorer,
    settings: Settings,
    plan: DemoPlan,
    progress: RunProgress,
) -> SeedOutcome:
    """Samples, labels and evaluates under one seed, which is `settings.seed`."""
    start = time.monotonic()
    drawn = draw_sample(TaskData(task, loaded), plan.num_examples, plan.num_test, settings.seed)
    train, test, gold_train, gold_test = drawn
    progress.status(f"seed {settings.seed}: searching labels for {counted(len(train), 'example')}")
    folder.write(DEMO, _begun(task, await scorer.model(), settings))  # marks an unfinished demo
    given = GivenLabels(loaded.known)
    labelling = await label_dataset(folder, train, task, scorer, settings, given=given, on_pass=progress.on_pass)
    many_shot = await ManyShot.open(scorer, task, train, test, labelling.run.model, seed=settings.seed)
    rng = np.random.default_rng([settings.seed, 1])
    shots = {
        "zero_shot": None,
        "random_few_shot": random_labels(len(train), len(task.labels), rng),
        "icm": labelling.run.labels,
        "gold": gold_train,
    }
    figures: dict[str, Estimate] = {}
    for method in METHODS:
        progress.status(f"seed {settings.seed}: testing on {counted(len(test), 'unseen example')}: {TITLES[method]}")
        predictions = await many_shot.predict(shots[method])
        figures[method] = accuracy(predictions.raw, gold_test)
        figures[f"{method}_calibrated"] = accuracy(predictions.calibrated, gold_test)
        progress.step(EVALUATION_STEPS / len(METHODS))
    run, problem = labelling.run, labelling.run.problem
    gold_to_find = np.where(problem.is_known, -1, gold_train)
    seed = DemoSeed(
        seed=settings.seed,
        test_accuracy=figures,
        label_accuracy=accuracy(run.labels, gold_to_find),
        zero_shot_label_accuracy=accuracy(zero_shot_labels_of(problem, run.result), gold_to_find).value,
        seconds=time.monotonic() - start,
        search=labelling.metrics,
    )
    return SeedOutcome(seed, run.model, run.settings)


async def run_demo(
    folder: RunDir,
    loaded: Loaded,
    task: Task,
    scorer: Scorer,
    settings: Settings,
    plan: DemoPlan,
    progress: RunProgress,
    seconds_so_far: Callable[[], float],
) -> DemoResults:
    """Runs all seeds in sequence in a prepared folder, writes results and report, and returns the results. An earlier
    demo is removed when the scorer has answered and there are enough examples."""
    expected = settings.expected_passes(plan.num_examples)
    progress.expect(plan.num_seeds * (expected.num + EVALUATION_STEPS) if expected else 0)
    draw_sample(TaskData(task, loaded), plan.num_examples, plan.num_test, plan.first_seed)
    await scorer.model()
    folder.begun()
    for earlier in _seeds_in(folder):
        earlier.remove()
    outcomes: list[SeedOutcome] = []
    for seed in range(plan.first_seed, plan.first_seed + plan.num_seeds):
        place = folder if plan.num_seeds == 1 else RunDir(folder / f"seed-{seed}")
        place.prepare()
        own = settings.model_copy(update={"seed": seed})
        outcome = await run_seed(place, loaded, task, scorer, own, plan, progress)
        outcomes.append(outcome)
        results = _results(task, outcomes, seconds_so_far())
        folder.write(DEMO, results)  # after every seed, so that a stopped demo keeps what it has
        if plan.num_seeds > 1:
            place.write(DEMO, _results(task, [outcome], outcome.figures.seconds))
        folder.write_text(REPORT, render_report([RunReport.read(folder.path, loaded.gold)]))
    return results


def print_table(console: Terminal, task: Task, results: DemoResults, folder: RunDir) -> None:
    """Prints the results, without their alarms."""
    seeds = results.seeds
    many = len(seeds) > 1
    spread = f"median of {len(seeds)} seeds" if many else "accuracy"
    interval = seeds_interval(len(seeds))
    table = Table(title=f"{task.title or task.name}: test accuracy on unseen examples, {spread} [{interval}]")
    table.add_column("prompted with")
    table.add_column("raw", justify="right")
    table.add_column("calibrated", justify="right")
    for method in METHODS:
        cells = [str(results.test_accuracy[name]) for name in (method, f"{method}_calibrated")]
        table.add_row(TITLES[method], *cells, style="bold" if method == "icm" else "")
    console.print(table)
    if task.rates:
        console.say(f"Calibrated: {describe_calibration(task.rates)}.", style="dim", wraps=True)
    for seed in seeds:
        answers = ", ".join(f"{a.u:+.3f}{_spread(a)} ({' + '.join(a.starts)})" for a in seed.search.answers)
        console.say(
            f"seed {seed.seed}: {seed.label_accuracy.value:.0%} of the labels found are right{_known(seed)} "
            f"(calibrated zero-shot {seed.zero_shot_label_accuracy:.0%}); "
            f"U {answers}; test {seed.test_accuracy['icm'].value:.3f}"
        )
        console.say(f"  Verdict: {seed.search.verdict}", wraps=True)
    console.say(
        f"{counted(results.num_passes, 'pass')}, {counted(results.computed_tokens, 'token')} computed, "
        f"{results.seconds:.0f} s. Files: {folder.path}/ ({DEMO}, {REPORT}, {'seed-*/' if many else ''}labels.jsonl)"
    )


def _spread(answer: AnswerMetrics) -> str:
    """The standard error of its U over orders, which one order does not have."""
    return f"±{answer.u_se:.3f}" if answer.u_se else ""


def _known(seed: DemoSeed) -> str:
    return f", without the {counted(seed.search.num_known, 'known one')}" if seed.search.num_known else ""


def _check_is_demos(place: RunDir) -> None:
    there = [name for name in OUR_FILES if name != SCORER_LOG and (place / name).exists()]
    if there and not (place / DEMO).exists():
        raise RequestError(
            f"{place / there[0]} is no demo's, and a demo would replace it; give another --out, or move it away",
            code="run_exists",
        )


def _begun(task: Task, model: ModelInfo, settings: Settings) -> DemoResults:
    """A demo without any seed yet."""
    own = RunSettings.model_validate(settings.to_dict())
    return DemoResults(task=task.name, model=model.identity, settings=own)


def _results(task: Task, outcomes: list[SeedOutcome], seconds: float) -> DemoResults:
    seeds = [outcome.figures for outcome in outcomes]
    if len(seeds) == 1:
        figures, label_accuracy = seeds[0].test_accuracy, seeds[0].label_accuracy
    else:
        names = list(seeds[0].test_accuracy)
        figures = {name: median_over_seeds([seed.test_accuracy[name].value for seed in seeds]) for name in names}
        label_accuracy = median_over_seeds([seed.label_accuracy.value for seed in seeds])
    return _begun(task, outcomes[0].model, outcomes[0].settings).model_copy(
        update={
            "test_accuracy": figures,
            "label_accuracy": label_accuracy,
            "num_passes": sum(seed.search.num_passes for seed in seeds),
            "computed_tokens": sum(seed.search.computed_tokens for seed in seeds),
            "seconds": seconds,
            "seeds": seeds,
        }
    )
