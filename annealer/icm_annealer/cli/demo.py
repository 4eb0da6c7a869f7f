"""`icm demo`. A thin caller."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

from icm_annealer.api.inputs import load_data
from icm_annealer.api.job import alone
from icm_annealer.benchmarks.demo import DemoPlan, prepare_demo, print_table, run_demo
from icm_annealer.cli.shared.options import (
    AllowCodeOption,
    DataOption,
    EngineOption,
    KeyOption,
    KnownOption,
    RatesOption,
    ScorerModelOption,
    ScorerOption,
    TaskOption,
    WaitOption,
    interruptible,
    named_scorer,
    with_given,
)
from icm_annealer.cli.shared.work_options import (
    ExamplesOption,
    JsonOption,
    QuietOption,
    SeedOption,
    SeedsOption,
    TestSizeOption,
    out_folder,
)
from icm_annealer.console.output import Output
from icm_annealer.console.progress import RunProgress
from icm_annealer.runs.directory import SCORER_LOG, RunDir
from icm_annealer.runs.schema.metrics import DemoResults
from icm_annealer.scorers.kind import DEFAULT_ENGINE
from icm_annealer.scorers.registry import DEFAULT_SCORER
from icm_annealer.searches.settings import Settings
from icm_client import RequestError

USUAL_START_S, USUAL_DEMO_S = 45.0, 240.0
"""Seconds that the start of a local scorer and one seed of a demo take on two cores: the first estimate shown."""


def demo(
    task: TaskOption = "living",
    examples: ExamplesOption = DemoPlan.num_examples,
    test_size: TestSizeOption = DemoPlan.num_test,
    seeds: SeedsOption = 1,
    seed: SeedOption = 0,
    scorer: ScorerOption = DEFAULT_SCORER,
    data: DataOption = None,
    rates: RatesOption = None,
    known: KnownOption = None,
    out: Annotated[Path, out_folder("the results")] = Path("runs/demo"),
    engine: EngineOption = DEFAULT_ENGINE,
    scorer_model: ScorerModelOption = None,
    api_key_file: KeyOption = None,
    wait: WaitOption = None,
    allow_code: AllowCodeOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Label words with a real language model, then see how well the labels prompt it on unseen words.

    Starts a scorer (vLLM on this machine), labels, compares with zero-shot, random and gold labels, and writes
    metrics.json, labels.jsonl, journal.jsonl and report.html. Replaces an earlier demo in the same folder, but no
    other run.
    """
    output = Output(quiet=quiet, as_json=as_json)
    start = time.monotonic()
    loaded_task, loaded = load_data(task, data, allow_code=allow_code)
    if not loaded.gold:
        raise RequestError(f"the demo compares with gold labels, and {task!r} has none; use `icm run` instead")
    own_task, loaded = with_given(loaded_task.task, loaded, rates, known, examples)
    named = named_scorer(scorer, engine, wait, api_key_file, scorer_model)
    folder = RunDir(out)
    prepare_demo(folder)
    plan = DemoPlan(examples, test_size, seeds, seed)

    async def work() -> DemoResults:
        with RunProgress(output.aside, f"demo: {loaded_task.task.name}", loaded_task.task.label_names) as progress:
            progress.guess(USUAL_START_S + USUAL_DEMO_S * seeds * examples / DemoPlan().num_examples)
            async with named.open(progress.status, progress.note, folder / SCORER_LOG) as client:
                return await run_demo(
                    folder,
                    loaded,
                    own_task,
                    client,
                    Settings(),
                    plan,
                    progress,
                    lambda: time.monotonic() - start,
                )

    with alone(folder):
        results: DemoResults = interruptible(work(), output)
    output.say(f"{loaded.counts_text}.")
    print_table(output.text, own_task, results, folder)
    output.json({"folder": out, **results.model_dump(exclude={"format"})})
    for one in results.seeds:
        for alarm in one.search.alarms:
            output.alarm(f"seed {one.seed}: {alarm.line}", is_warning=alarm.level == "warning")
