"""Shared parts of the commands: options, the scorer, and interruption."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Coroutine, Iterator
from contextvars import ContextVar
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from icm_annealer.api.inputs import way_to_read, with_known_labels
from icm_annealer.cli.shared.bounds import MAX_AMOUNT, MAX_TOKENS
from icm_annealer.cli.shared.ending import run_to_end
from icm_annealer.console.output import Output
from icm_annealer.data.examples import Loaded
from icm_annealer.data.rates import NO_RATES, check_attainable, read_rates
from icm_annealer.data.rows import ReadAs
from icm_annealer.data.task import Task, built_in_tasks, with_rates
from icm_annealer.runs.directory import STARTED
from icm_annealer.runs.schema.base import read_file
from icm_annealer.runs.schema.state import StartState
from icm_annealer.scorers.kind import DEFAULT_ENGINE, UNREACHABLE_S, WAIT_S, Opening
from icm_annealer.scorers.registry import NamedScorer, find_scorer, scorers_help
from icm_client.http.api_key import read_key

_TASK_HELP = f"A built-in task ({', '.join(built_in_tasks())}) or a task file."
TaskOption = Annotated[str, typer.Option("--task", help=_TASK_HELP)]
RunTaskOption = Annotated[str | None, typer.Option("--task", help=_TASK_HELP, show_default="the run's own")]
_DATA_HELP = (
    "Your rows: JSON lines, a JSON list, CSV, TSV, Parquet or a workbook (also compressed, a pipe, or an http(s) URL; "
    "- is stdin), a folder written by save_to_disk, or hf:owner/name[:config][:split]."
)
DataOption = Annotated[str | None, typer.Option("--data", help=_DATA_HELP, show_default="the task's own data")]
RowsOption = Annotated[str, typer.Option("--data", help=_DATA_HELP)]
RunDataOption = Annotated[
    str | None, typer.Option("--data", help=_DATA_HELP, show_default="the rows that the run labelled")
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
_SCORER_HELP = f"The model's scorer: {scorers_help()}. HTTP_PROXY and NO_PROXY are respected."
SCORER_VARIABLE, KEY_VARIABLE = "ICM_SCORER_URL", "ICM_API_KEY_FILE"
ScorerOption = Annotated[str, typer.Option("--scorer", envvar=SCORER_VARIABLE, help=_SCORER_HELP)]
TryScorerOption = Annotated[
    str | None, typer.Option("--scorer", envvar=SCORER_VARIABLE, help=_SCORER_HELP, show_default="no model is asked")
]
SameScorerOption = Annotated[
    str | None, typer.Option("--scorer", help=_SCORER_HELP, show_default="the one that the run began with")
]
RunScorerOption = Annotated[
    str | None,
    typer.Option("--scorer", envvar=SCORER_VARIABLE, help=_SCORER_HELP, show_default="the one that found the labels"),
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


_KEY_HELP = "A file with the scorer's API key."
KeyOption = Annotated[
    KeyFile | None,
    typer.Option("--api-key-file", envvar=KEY_VARIABLE, parser=KeyFile, metavar="FILE", help=_KEY_HELP),
]
SameKeyOption = Annotated[
    KeyFile | None,
    typer.Option(
        "--api-key-file",
        parser=KeyFile,
        metavar="FILE",
        help=_KEY_HELP,
        show_default="the one that the run began with",
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
        max=MAX_TOKENS,
        help="End before the engine has computed more than about N tokens, with the best answer so far.",
    ),
]
MaxMinutesOption = Annotated[
    float | None,
    typer.Option(
        "--max-minutes",
        metavar="M",
        min=0.0,
        max=MAX_AMOUNT,
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
    return way_to_read(names, encoding, skip_bad)


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


def scorer_of_run(
    folder: Path, scorer: str | None, engine: str, wait_s: float | None, key: KeyFile | None, model: str | None
) -> NamedScorer | None:
    """The scorer that the options name; if they name none, the one that the run in `folder` began with, and None if
    the run does not say. Raises RequestError."""
    state = None if scorer else read_file(folder / STARTED, StartState)
    if state is None or state.scorer is None:
        return named_scorer(scorer, engine, wait_s, key, model) if scorer else None
    if key is None and state.api_key_file:
        key = KeyFile(state.api_key_file)
    own_engine = state.engine if engine == DEFAULT_ENGINE else engine
    return named_scorer(state.scorer, own_engine, wait_s, key, model or state.scorer_model)


_whole: ContextVar[str | None] = ContextVar("whole", default=None)
"""The command that continues all of which the present work is a stage."""


def interruptible(work: Coroutine[Any, Any, Any], output: Output, again: str | None = None) -> Any:
    """Runs `work`. On Ctrl-C or another signal, exits with 128 + its number, and names `again`, the command that
    continues the work, if there is one."""
    with _stopping(output, _whole.get() or again):
        return run_to_end(work)


@contextlib.contextmanager
def stages(output: Output, again: str) -> Iterator[None]:
    """For commands that are stages of another one: where one of them is stopped, `again`, which continues the whole, is
    named in place of its own."""
    token = _whole.set(again)
    try:
        with _stopping(output, again):
            yield
    finally:
        _whole.reset(token)


@contextlib.contextmanager
def _stopping(output: Output, again: str | None) -> Iterator[None]:
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as end:
        saved = f"; what was done is saved. Continue with: {again}" if again else ""
        with contextlib.suppress(OSError):  # the terminal may be gone
            output.insist("")
            output.insist(f"stopped{saved}")
        code = end.code if isinstance(end, SystemExit) else None
        raise typer.Exit(code if isinstance(code, int) else 130) from None
