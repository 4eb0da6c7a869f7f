"""Shared parts of the commands: options, the scorer, and interruption."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Coroutine
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from icm_annealer.api.inputs import with_known_labels
from icm_annealer.cli.shared.ending import run_to_end
from icm_annealer.console.terminal import Terminal
from icm_annealer.data.examples import Loaded
from icm_annealer.data.rates import NO_RATES, check_attainable, read_rates
from icm_annealer.data.rows import ReadAs
from icm_annealer.data.task import Task, built_in_tasks, with_rates
from icm_annealer.scorers.kind import UNREACHABLE_S, WAIT_S, Opening
from icm_annealer.scorers.registry import NamedScorer, find_scorer, scorers_help
from icm_annealer.sources.delimited import check_columns
from icm_annealer.sources.encoding import check_encoding
from icm_client.contract.errors import RequestError
from icm_client.http.api_key import read_key

TaskOption = Annotated[
    str, typer.Option("--task", help=f"A built-in task ({', '.join(built_in_tasks())}) or a task file.")
]
DataOption = Annotated[
    str | None,
    typer.Option(
        "--data",
        help="Your rows: JSON lines, a JSON list, CSV, TSV, Parquet or a workbook (also compressed, a pipe, or an "
        "http(s) URL; - is stdin), a folder written by save_to_disk, or hf:owner/name[:config][:split].",
        show_default="the task's own data",
    ),
]
ColumnsOption = Annotated[
    str | None,
    typer.Option(
        "--columns",
        metavar="NAME,NAME",
        help="The names of the columns, for a table whose first row does not name them.",
        show_default="the task's own columns, or the first row",
    ),
]
EncodingOption = Annotated[
    str | None,
    typer.Option(
        "--encoding",
        help="The text encoding of the data, such as cp1252 or latin-1; UTF-8 and UTF-16 are recognised.",
        show_default="the task's own encoding",
    ),
]
SkipBadOption = Annotated[
    bool,
    typer.Option("--skip-bad", help="Leave out rows that cannot be used; otherwise they are an error, all together."),
]
RatesOption = Annotated[
    list[str] | None,
    typer.Option(
        "--rates",
        metavar="LABEL=SHARE",
        help="The share of a label, such as spam=0.13, or its range, spam=0.1-0.2; several parted by commas, or given "
        f"repeatedly. Other labels share the rest freely. Replaces the task's; `--rates {NO_RATES}` discards them.",
        show_default="the task's own rates",
    ),
]
KnownOption = Annotated[
    str | None,
    typer.Option(
        "--known",
        metavar="FILE|RUN",
        help="Known labels, which stay as they are: a file with the fields id and label, or a run's folder, for the "
        "labels that people decided there (see `icm review`).",
    ),
]
ScorerOption = Annotated[
    str,
    typer.Option(
        "--scorer",
        envvar="ICM_SCORER_URL",
        help=f"The model's scorer: {scorers_help()}. HTTP_PROXY and NO_PROXY are respected.",
    ),
]
ScorerModelOption = Annotated[
    str | None,
    typer.Option("--scorer-model", help="With openai:URL: the model's name, if the endpoint serves several."),
]


class KeyFile:
    """A file with an API key. It is read when a scorer needs the key, and only once, since it may be a pipe."""

    def __init__(self, path: str):
        self.path = Path(path)

    @cached_property
    def key(self) -> str | None:
        """See `read_key`."""
        return read_key(self.path)


KeyOption = Annotated[
    KeyFile | None,
    typer.Option(
        "--api-key-file",
        envvar="ICM_API_KEY_FILE",
        parser=KeyFile,
        metavar="FILE",
        help="A file with the scorer's API key.",
    ),
]
EngineOption = Annotated[
    str, typer.Option("--engine", help="The engine of a local: scorer: vllm, or fake (no model, to try things out).")
]

MAX_WAIT_S = 30 * 86_400.0


def finite(value: float | None) -> float | None:
    """A number option's value; "nan" is within any range."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number")
    return value


AllowCodeOption = Annotated[
    bool,
    typer.Option("--allow-code", help="Run code named in the task file (rules of kind python) with your permissions."),
]
WaitOption = Annotated[
    float | None,
    typer.Option(
        "--wait",
        metavar="SECONDS",
        min=0.0,
        max=MAX_WAIT_S,
        callback=finite,
        help="How long to wait for a scorer that is unreachable or not ready.",
        show_default=f"{WAIT_S:g}, or {UNREACHABLE_S:g} as long as nothing accepts a connection",
    ),
]
MaxTokensOption = Annotated[
    int | None,
    typer.Option(
        "--max-tokens",
        metavar="N",
        min=1,
        help="End before the engine has computed more than about N tokens, with the best answer so far.",
    ),
]
MaxMinutesOption = Annotated[
    float | None,
    typer.Option(
        "--max-minutes",
        metavar="M",
        min=0.0,
        callback=finite,
        help="End before about M minutes of waiting for the scorer, with the best answer so far.",
    ),
]
FiguresOption = Annotated[
    Path | None,
    typer.Option(
        "--figures",
        metavar="DIR",
        help="Also write each plot as PDF, PNG (300 dpi) and SVG into this folder, one column of a paper wide; files "
        "of the same name are replaced.",
    ),
]


def read_as(columns: str | None, encoding: str | None, skip_bad: bool) -> ReadAs:
    """How data are read by these options. Raises RequestError."""
    names = [name.strip() for name in columns.split(",")] if columns is not None else []
    try:
        check_columns(names)
        return ReadAs(names, check_encoding(encoding) if encoding is not None else None, skip_bad)
    except ValueError as error:
        raise RequestError(str(error)) from None


def with_given(
    task: Task, loaded: Loaded, rates: list[str] | None, known: str | None, num_examples: int | None = None
) -> tuple[Task, Loaded]:
    """The task with the label rates of `--rates`, and its data with the labels of `--known`. Raises RequestError, also
    if `num_examples`, about as many as will be labelled, cannot have the rates."""
    if rates:
        task = with_rates(task, read_rates(rates))
    if num_examples is not None:
        check_attainable(task.rates, task.label_names, np.full(num_examples, -1))
    return task, with_known_labels(loaded, task, known) if known is not None else loaded


def named_scorer(
    name: str, engine: str, wait_s: float | None, api_key_file: KeyFile | None, model: str | None = None
) -> NamedScorer:
    """The scorer that the options name. Raises RequestError for one that cannot be used, before anything is made or
    started for it."""
    opening = Opening(lambda: api_key_file.key if api_key_file else None, model, engine, wait_s)
    named = find_scorer(name, opening)
    named.check()
    return named


def interruptible(work: Coroutine[Any, Any, Any], console: Terminal, again: str | None = None) -> Any:
    """Runs `work`. On Ctrl-C or another signal, exits with 128 + its number, and names `again`, the command that
    continues the work, if there is one."""
    try:
        return run_to_end(work)
    except (KeyboardInterrupt, SystemExit) as end:
        saved = f"; what was answered is saved. Continue with: {again}" if again else ""
        with contextlib.suppress(OSError):  # the terminal may be gone
            console.say("")
            console.say(f"stopped{saved}")
        code = end.code if isinstance(end, SystemExit) else None
        raise typer.Exit(code if isinstance(code, int) else 130) from None
