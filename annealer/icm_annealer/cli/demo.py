"""`icm demo`. A thin caller."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from icm_annealer.benchmarks.demo import DemoPlan, prepare_demo, print_table, run_demo
from icm_annealer.cli.options import (
    DEFAULT_SCORER,
    AllowCodeOption,
    DataOption,
    EngineOption,
    KeyOption,
    ScorerModelOption,
    ScorerOption,
    TaskOption,
    check_scorer,
    connect,
    interruptible,
    load_data,
)
from icm_annealer.console.progress import RunProgress
from icm_annealer.console.terminal import Terminal
from icm_annealer.runs.directory import SCORER_LOG, RunDir
from icm_annealer.runs.schema.metrics import DemoResults
from icm_annealer.search.settings import Settings
from icm_client import RequestError

USUAL_START_S, USUAL_DEMO_S = 45.0, 240.0
"""What a local scorer's start and a demo's single seed take on two cores; shown only until something is measured."""


def demo(
    task: TaskOption = "living",
    examples: Annotated[int, typer.Option(min=8, help="How many examples to label.")] = DemoPlan().num_examples,
    test: Annotated[int, typer.Option(min=1, help="How many unseen examples to test on.")] = DemoPlan().num_test,
    seeds: Annotated[int, typer.Option(min=1, help="How many times, with other examples and starts.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="The first seed.")] = 0,
    scorer: ScorerOption = DEFAULT_SCORER,
    data: DataOption = None,
    out: Annotated[Path, typer.Option("--out")] = Path("runs/demo"),
    engine: EngineOption = "vllm",
    scorer_model: ScorerModelOption = None,
    api_key_file: KeyOption = None,
    allow_code: AllowCodeOption = False,
) -> None:
    """Label words with a real language model, then see how well the labels prompt it on unseen words.

    Starts a scorer (vLLM on this machine), labels, compares with zero-shot, random and gold labels, and writes
    metrics.json, labels.jsonl, journal.jsonl and report.html. An earlier demo in the same folder is replaced, any
    other run there is not.
    """
    console = Terminal()
    start = time.monotonic()
    loaded_task, loaded = load_data(task, data, allow_code=allow_code)
    if not loaded.gold:
        raise RequestError(f"the demo compares with gold labels, and {task!r} has none; use `icm run` instead")
    check_scorer(scorer, api_key_file)
    folder = RunDir(out)
    prepare_demo(folder)
    plan = DemoPlan(examples, test, seeds, seed)

    async def work() -> DemoResults:
        with RunProgress(console, f"demo: {loaded_task.task.name}", loaded_task.task.label_names) as progress:
            progress.guess(USUAL_START_S + USUAL_DEMO_S * seeds * examples / DemoPlan().num_examples)
            async with connect(
                scorer, engine, 300.0, api_key_file, progress, folder / SCORER_LOG, scorer_model
            ) as client:
                return await run_demo(
                    folder,
                    loaded,
                    loaded_task.task,
                    client,
                    Settings(),
                    plan,
                    progress,
                    lambda: time.monotonic() - start,
                )

    results = interruptible(work(), console)
    console.say(f"{loaded.told}.")
    print_table(console, loaded_task.task, results, folder)
