"""`icm init`: a task file to start from. A thin caller, which asks on a terminal."""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from icm_annealer.cli.shared.options import (
    ColumnsOption,
    EncodingOption,
    EngineOption,
    KeyOption,
    ScorerModelOption,
    ScorerOption,
    SkipBadOption,
    WaitOption,
    interruptible,
    named_scorer,
    read_as,
)
from icm_annealer.cli.shared.work_options import (
    JsonOption,
    OverwriteOption,
    QuietOption,
    SeedOption,
    gold_option,
    out_file,
)
from icm_annealer.console.output import Output
from icm_annealer.console.progress import RunProgress
from icm_annealer.data.bad_rows import BadRows
from icm_annealer.data.column_survey import Column, surveyed
from icm_annealer.data.examples import Loaded, examples_of, rendered
from icm_annealer.data.rows import JSON_SUFFIXES, REMOTE, TABLE_SUFFIXES, read_rows, shown_source
from icm_annealer.data.task_draft import (
    NONE,
    Choice,
    Draft,
    check_guess,
    drafted,
    guessed,
    label_candidates,
    value_as_name,
)
from icm_annealer.evaluation.template_trial import Trial, ranked, try_task
from icm_annealer.reporting.task_file import TaskFile
from icm_annealer.runs.atomic_write import write_whole
from icm_annealer.runs.directory import check_result
from icm_annealer.scorers.kind import DEFAULT_ENGINE
from icm_annealer.scorers.registry import DEFAULT_SCORER, NamedScorer
from icm_annealer.sources.byte_source import STANDARD_INPUT, is_stream
from icm_annealer.sources.row import Fault
from icm_client.contract.errors import RequestError
from icm_client.http.address import shown


def init(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="Your rows: a file, a pipe (- is stdin), an http(s) URL, or hf:owner/name[:config][:split].",
        ),
    ],
    text: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,NAME", help="The columns that the model reads.", show_default="those that hold text"
        ),
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(metavar="LABEL,LABEL", help="The labels.", show_default="the values of the gold column"),
    ] = None,
    gold: Annotated[str | None, gold_option("a column with few values")] = None,
    out: Annotated[Path | None, out_file("the task", "DATA's name, .yaml")] = None,
    overwrite: OverwriteOption = False,
    columns: ColumnsOption = None,
    encoding: EncodingOption = None,
    skip_bad: SkipBadOption = False,
    scorer: ScorerOption = DEFAULT_SCORER,
    no_scorer: Annotated[
        bool, typer.Option("--no-scorer", help="Do not try the templates on a model; the first one is taken.")
    ] = False,
    seed: SeedOption = 0,
    engine: EngineOption = DEFAULT_ENGINE,
    scorer_model: ScorerModelOption = None,
    api_key_file: KeyOption = None,
    wait: WaitOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write a task file for your data to start from: text, labels, and the best of three templates.

    Looks at the columns, tries the templates on a model without gold labels, and writes a file with comments. On a
    terminal it asks what the options leave open.

    Example: icm init messages.csv

    Example: icm init messages.csv --text message --labels spam,fine --no-scorer
    """
    output = Output(quiet=quiet, as_json=as_json)
    how = read_as(columns, encoding, skip_bad)
    name = "data" if data == STANDARD_INPUT else name_of_data(data)
    path = out or Path(f"{name}.yaml")
    check_result(path, overwrite=overwrite, reads=[data])
    named = None if no_scorer else named_scorer(scorer, engine, wait, api_key_file, scorer_model)
    faults: list[Fault] = []
    reading = read_rows(data, read_as=how, on_fault=faults.append)
    rows = list(reading)
    found = surveyed(row.value for row in rows)
    if not found:
        empty = f"{shown_source(data)}: no rows with columns: a table needs a header and rows, JSON needs objects"
        raise RequestError(faults[0].message if faults else empty, code="bad_data")
    survey = [column.describe(len(rows)) for column in found.values()]
    for line in survey:
        output.inform(line)
    value = value_as_name(found) if reading.has_header and text is None and gold is None else None
    if value is not None:
        raise RequestError(
            f"is the first line a header? It names a column {value!r:.80}. If it is none, name the columns with "
            "--columns, such as --columns text,label; otherwise name them with --text and --gold",
            code="bad_data",
        )
    choice = _chosen(output, found, _names(text, found), gold, _names(labels, ()))
    draft = drafted(found, choice, name)
    _say_choice(output, found, choice, draft.tasks[0].label_names)
    bad = BadRows(shown_source(data), draft.tasks[0], skip=skip_bad)
    for fault in faults:
        bad.add(fault)
    loaded = examples_of(rows, draft.tasks[0], bad)
    trials = _tried(output, draft, loaded, named, seed) if named is not None else []
    for task, trial in zip(draft.tasks, trials, strict=bool(trials)):
        output.inform(f"{task.template!r}: {trial}")
    ranks = ranked(trials) if trials else range(len(draft.tasks))
    draft = replace(draft, tasks=[draft.tasks[i] for i in ranks])
    trials = [trials[i] for i in ranks] if trials else []
    kept = TaskFile(shown_source(data), _data_field(data, path), survey, how.columns, how.encoding, shown(scorer))
    write_whole(path, lambda partial: partial.write_text(kept.text(draft, trials), encoding="utf-8"))
    output.say(f"{loaded.counts_text}. Task written: {path}")
    more = [] if kept.data else ["--data", "DATA"]
    more += ["--skip-bad"] if skip_bad else []
    model = [] if scorer == DEFAULT_SCORER else ["--scorer", shown(scorer)]
    model += [] if engine == DEFAULT_ENGINE else ["--engine", engine]
    check = shlex.join(["icm", "task", "check", str(path), *more])
    run = shlex.join(["icm", "run", "--task", str(path), *more, *model, "--out", f"runs/{name}"])
    output.say(f"Next: {check}")
    output.say(f"      {run}")
    output.json(
        {
            "file": path,
            "num_rows": len(rows),
            "columns": survey,
            "text": choice.texts,
            "gold": choice.gold,
            "templates": [task.template for task in draft.tasks],
            "trials": [trial._asdict() for trial in trials],
            "next": [check, run],
        }
    )


def name_of_data(data: str) -> str:
    """The source's own name, without folders and suffixes, and with hyphens for what is neither a letter nor a
    digit."""
    name = Path(data.removeprefix("hf:").partition("?")[0].rstrip("/")).stem
    if Path(name).suffix in (*TABLE_SUFFIXES, *JSON_SUFFIXES):  # of a compressed file
        name = Path(name).stem
    return re.sub(r"[^\w-]+", "-", name).strip("-") or "data"


def _names(option: str | None, columns: Container[str]) -> list[str]:
    """The names that an option lists; a column's name may hold commas itself."""
    if option is None:
        return []
    names = [option] if option in columns else [name.strip() for name in option.split(",")]
    return list(dict.fromkeys(name for name in names if name))


def _chosen(
    output: Output, found: Mapping[str, Column], texts: list[str], gold: str | None, labels: list[str]
) -> Choice:
    """The columns that the options name; the others are asked for on a terminal, and guessed elsewhere."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        choice = guessed(found, texts, gold, labels)
        if gold is None:
            check_guess(found, choice)
        return choice
    try:
        if gold is None:
            guess = guessed(found, texts, None, labels).gold or NONE
            gold = output.ask(f"Which column holds labels that a person gave? `{NONE}` if there is none", guess)
        if not texts:
            guess = ", ".join(guessed(found, (), gold, labels).texts)
            texts = _names(output.ask("Which columns does the model read?", guess), found)
        if not labels and guessed(found, texts, gold).gold is None:
            labels = _names(output.ask("Which labels are there, with commas between them?"), ())
    except EOFError:
        raise RequestError("the input ended: use the options --text, --gold and --labels") from None
    return guessed(found, texts, gold, labels)


def _say_choice(output: Output, found: Mapping[str, Column], choice: Choice, labels: Sequence[str]) -> None:
    output.inform(f"Text: {', '.join(choice.texts)}. Gold: {choice.gold or NONE}.")
    others = [name for name in label_candidates(found, choice.texts, choice.labels) if name != choice.gold]
    if others:
        output.note(f"{', '.join(others)} could also hold labels: --gold names the column")
    if not any(map(str.isalpha, "".join(labels))):
        output.note(
            f"the labels ({', '.join(labels)}) are no words: if they stand for something, write words for them under "
            '`labels` in the file, such as " bad"'
        )


def _tried(output: Output, draft: Draft, loaded: Loaded, named: NamedScorer, seed: int) -> list[Trial]:
    """What the scorer makes of each task. Raises IcmError."""

    async def ask() -> list[Trial]:
        with RunProgress(output.aside, "init", []) as progress:
            async with named.open(progress.status, progress.note) as client:
                progress.status("trying templates")
                return [await try_task(task, rendered(loaded.examples, task), client, seed) for task in draft.tasks]

    found: list[Trial] = interruptible(ask(), output)
    return found


def _data_field(data: str, path: Path) -> str | None:
    """The task's `data`; None for a source that cannot be read again, or holds a password."""
    if data.startswith(REMOTE):
        return data if shown(data) == data else None
    return None if is_stream(data) else os.path.relpath(data, path.parent)
