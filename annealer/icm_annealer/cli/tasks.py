"""`icm tasks` and `icm task check`. A thin caller."""

from __future__ import annotations

from typing import Annotated

import typer

from icm_annealer.api.inputs import load_data
from icm_annealer.cli.shared.options import (
    AllowCodeOption,
    ColumnsOption,
    DataOption,
    EncodingOption,
    EngineOption,
    KeyOption,
    ScorerModelOption,
    SkipBadOption,
    WaitOption,
    interruptible,
    named_scorer,
    read_as,
)
from icm_annealer.console.progress import RunProgress
from icm_annealer.console.terminal import Terminal
from icm_annealer.data.task import built_in_tasks, load_task
from icm_annealer.data.task_check import Findings, look_at_data, look_at_task, three_shots
from icm_annealer.evaluation.task_probe import look_with_model
from icm_annealer.evaluation.template_trial import try_task
from icm_annealer.scorers.registry import scorers_help
from icm_client.contract.errors import RequestError


def tasks() -> None:
    """List the built-in tasks."""
    console = Terminal()
    for name in built_in_tasks():
        task = load_task(name).task
        console.say(f"{name:22} {task.title}" + ("" if task.data else f" (needs --data, see `{task.builder} --help`)"))


def check_task(
    file: Annotated[str, typer.Argument(help="A task file, or the name of a built-in task.")],
    data: DataOption = None,
    columns: ColumnsOption = None,
    encoding: EncodingOption = None,
    skip_bad: SkipBadOption = False,
    scorer: Annotated[
        str | None,
        typer.Option(envvar="ICM_SCORER_URL", help=f"Also ask a model. {scorers_help()}."),
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="Another task file, compared with this one on the same data, without gold labels; may be repeated.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Determines which examples the model is asked about.")] = 0,
    engine: EngineOption = "vllm",
    scorer_model: ScorerModelOption = None,
    api_key_file: KeyOption = None,
    wait: WaitOption = None,
    allow_code: AllowCodeOption = False,
) -> None:
    """Check a task before using it: three shots as the model sees them, lengths, groups, gold labels, likely mistakes.

    Example: icm task check my_task.yaml --data rows.csv --scorer local:smollm2-135m

    Example: icm task check my_task.yaml --against other_words.yaml --scorer local:smollm2-135m
    """
    if against and scorer is None:
        raise RequestError("--against compares task files with a model: name one with --scorer")
    loaded_task, loaded = load_data(file, data, allow_code=allow_code, read_as=read_as(columns, encoding, skip_bad))
    task, source = loaded_task.task, data or str(loaded_task.data_path)
    others = {
        name: load_data(name, source, allow_code=allow_code, read_as=read_as(columns, encoding, skip_bad))
        for name in against or ()
    }
    console = Terminal()
    labels = "gold labels" if any(e.id in loaded.gold for e in loaded.examples[:3]) else "labels in turn, not gold"
    console.rule(f"{task.name}: the first three examples as shots, with {labels}")
    console.print(three_shots(task, loaded), soft_wrap=True)
    console.rule()
    findings = look_at_task(task) + look_at_data(task, loaded)
    if scorer is not None:
        named = named_scorer(scorer, engine, wait, api_key_file, scorer_model)

        async def ask() -> Findings:
            with RunProgress(Terminal(stderr=True), "task check", []) as progress:
                async with named.open(progress.status, progress.note) as client:
                    progress.status("asking the model")
                    found = await look_with_model(task, loaded, client, seed)
                    for name, (tried, rows) in {file: (loaded_task, loaded), **others}.items():
                        trial = await try_task(tried.task, rows.examples, client, seed)
                        found.facts.append(f"{name}: {trial}")
                    return found

        findings += interruptible(ask(), console)
    console.say(f"{loaded.counts_text}.")
    for fact in findings.facts:
        console.say(fact)
    for wrong in findings.wrong:
        console.say(f"looks wrong: {wrong}")
    if not findings.wrong:
        console.say("Nothing looks wrong.")
