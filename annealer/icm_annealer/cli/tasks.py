"""`icm tasks` and `icm task check`. A thin caller."""

from __future__ import annotations

from typing import Annotated

import typer

from icm_annealer.api.inputs import load_data
from icm_annealer.cli.shared.options import (
    DEFAULT_ENGINE,
    AllowCodeOption,
    ColumnsOption,
    DataOption,
    EncodingOption,
    EngineOption,
    KeyOption,
    ScorerModelOption,
    SkipBadOption,
    TryScorerOption,
    WaitOption,
    interruptible,
    named_scorer,
    read_as,
)
from icm_annealer.cli.shared.work_options import JsonOption, QuietOption, SeedOption
from icm_annealer.console.output import Output
from icm_annealer.console.progress import RunProgress
from icm_annealer.data.task import built_in_tasks, load_task
from icm_annealer.data.task_check import Findings, look_at_data, look_at_task, three_shots
from icm_annealer.evaluation.task_probe import look_with_model
from icm_annealer.evaluation.template_trial import try_task
from icm_client.contract.errors import RequestError


def tasks(as_json: JsonOption = False) -> None:
    """List the built-in tasks."""
    output = Output(as_json=as_json)
    found = [load_task(name).task for name in built_in_tasks()]
    for task in found:
        output.say(
            f"{task.name:22} {task.title}" + ("" if task.data else f" (needs --data, see `{task.builder} --help`)")
        )
    output.json(
        {
            "tasks": [
                {
                    "name": task.name,
                    "title": task.title,
                    "labels": task.label_names,
                    "has_data": bool(task.data),
                    "builder": task.builder,
                }
                for task in found
            ]
        }
    )


def check_task(
    file: Annotated[str, typer.Argument(help="A task file, or the name of a built-in task.")],
    data: DataOption = None,
    columns: ColumnsOption = None,
    encoding: EncodingOption = None,
    skip_bad: SkipBadOption = False,
    scorer: TryScorerOption = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="Another task file, compared with this one on the same data, without gold labels; may be repeated.",
        ),
    ] = None,
    seed: SeedOption = 0,
    engine: EngineOption = DEFAULT_ENGINE,
    scorer_model: ScorerModelOption = None,
    api_key_file: KeyOption = None,
    wait: WaitOption = None,
    allow_code: AllowCodeOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Check a task before using it: three shots as the model sees them, lengths, groups, gold labels, likely mistakes.

    With --scorer, a model is asked as well: whether it takes the texts, and what it makes of the label words.

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
    output = Output(quiet=quiet, as_json=as_json)
    labels = "gold labels" if any(e.id in loaded.gold for e in loaded.examples[:3]) else "labels in turn, not gold"
    shots = three_shots(task, loaded)
    output.say(f"{task.name}: the first three examples as shots, with {labels}")
    output.say("")
    output.text.print(shots, soft_wrap=True)
    output.say("")
    findings = look_at_task(task) + look_at_data(task, loaded)
    if scorer is not None:
        named = named_scorer(scorer, engine, wait, api_key_file, scorer_model)

        async def ask() -> Findings:
            with RunProgress(output.aside, "task check", []) as progress:
                async with named.open(progress.status, progress.note) as client:
                    progress.status("asking the model")
                    found = await look_with_model(task, loaded, client, seed)
                    for name, (tried, rows) in {file: (loaded_task, loaded), **others}.items():
                        trial = await try_task(tried.task, rows.examples, client, seed)
                        found.facts.append(f"{name}: {trial}")
                    return found

        findings += interruptible(ask(), output)
    output.say(f"{loaded.counts_text}.")
    for fact in findings.facts:
        output.say(fact)
    for wrong in findings.wrong:
        output.say(f"looks wrong: {wrong}")
    if not findings.wrong:
        output.say("Nothing looks wrong.")
    output.json(
        {
            "task": task.name,
            "num_examples": len(loaded.examples),
            "num_skipped": len(loaded.skipped),
            "shots": shots,
            "facts": findings.facts,
            "wrong": findings.wrong,
        }
    )
