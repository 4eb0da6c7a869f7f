"""What commands have in common: the data they read, the scorer that they talk to, and how they end."""

from __future__ import annotations

import contextlib
import math
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import typer

from icm_annealer.cli.ending import run_to_end
from icm_annealer.console.progress import RunProgress
from icm_annealer.console.terminal import Terminal
from icm_annealer.data.examples import Loaded, load_examples
from icm_annealer.data.task import LoadedTask, built_in_tasks, load_task
from icm_annealer.scoring.local_scorer import local_scorer
from icm_annealer.scoring.passes import Scorer
from icm_client import OpenAIScorer, RequestError, ScorerClient
from icm_client.http.address import shown
from icm_client.http.api_key import read_key
from icm_client.http.endpoint_http import EndpointHttp
from icm_client.http.retry import RetryPolicy

DEFAULT_MODEL = "smollm2-135m"
DEFAULT_SCORER = f"local:{DEFAULT_MODEL}"

TaskOption = Annotated[str, typer.Option("--task", help=f"A built-in task ({', '.join(built_in_tasks())}) or a file.")]
DataOption = Annotated[
    str | None,
    typer.Option(
        "--data",
        help="Your rows: JSON lines or list, CSV, TSV, Parquet (also packed, or a pipe; - is standard input), a folder "
        "of save_to_disk, or hf:owner/name[:config][:split]; the task's own if left out.",
    ),
]
ScorerOption = Annotated[
    str,
    typer.Option(
        "--scorer",
        envvar="ICM_SCORER_URL",
        help="URL of a running icm-server; `local:MODEL` to start one for this run (MODEL: a name, path or hub id); or "
        "`openai:URL` of any OpenAI-compatible server with /v1/completions. Heeds HTTP_PROXY and NO_PROXY.",
    ),
]
ScorerModelOption = Annotated[
    str | None, typer.Option("--scorer-model", help="With openai:URL: the model's name there, if it has several.")
]


class KeyFile:
    """A file that holds an API key: read when a scorer needs one, and once, since it may be a pipe."""

    def __init__(self, path: str):
        self._path = Path(path)

    @cached_property
    def key(self) -> str | None:
        """See `read_key`."""
        return read_key(self._path)


KeyOption = Annotated[
    KeyFile | None,
    typer.Option(
        "--api-key-file",
        envvar="ICM_API_KEY_FILE",
        parser=KeyFile,
        metavar="FILE",
        help="File that holds the scorer's API key.",
    ),
]
EngineOption = Annotated[
    str, typer.Option("--engine", help="Engine of a scorer started here: vllm, or fake (no model, for trying out).")
]

MAX_WAIT_S = 30 * 86_400.0


def finite(value: float | None) -> float | None:
    """A number option's value; "nan" is within any range."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a number that can be counted with")
    return value


AllowCodeOption = Annotated[
    bool,
    typer.Option("--allow-code", help="Run code that the task file names (rules of kind python), with your rights."),
]
WaitOption = Annotated[
    float,
    typer.Option("--wait", min=0.0, max=MAX_WAIT_S, callback=finite, help="Seconds to wait for a scorer that is away."),
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


@asynccontextmanager
async def connect(
    where: str,
    engine: str,
    wait_s: float,
    api_key_file: KeyFile | None,
    progress: RunProgress,
    log: Path | None,
    scorer_model: str | None = None,
) -> AsyncIterator[Scorer]:
    """A client of the scorer at `where`, which is ready."""

    def waiting(what: str, seconds: float) -> None:
        progress.status(f"waiting for the scorer: {what}")

    retry = RetryPolicy(patience_s=wait_s)
    kind, _, model = where.partition(":")
    if scorer_model is not None and kind != "openai":
        raise RequestError("--scorer-model is for --scorer openai:URL; a local:MODEL names its own")
    if kind == "local":
        async with (
            local_scorer(model or DEFAULT_MODEL, waiting, engine=engine, log=log) as url,
            ScorerClient(url, retry=retry) as client,
        ):
            yield client
    elif kind == "openai":
        progress.status(f"looking at {shown(model)}")
        async with await OpenAIScorer.open(
            model, model=scorer_model, api_key=_key(api_key_file), retry=retry, on_wait=waiting
        ) as endpoint:
            for note in endpoint.notes:
                progress.note(f"note: {note}")
            yield endpoint
    else:
        async with ScorerClient(where, api_key=_key(api_key_file), retry=retry) as client:
            await client.wait_ready(wait_s, waiting)
            yield client


def check_scorer(where: str, api_key_file: KeyFile | None) -> None:
    """Raises RequestError for a scorer that cannot be asked, before anything is made or started for it."""
    kind, _, rest = where.partition(":")
    if kind == "openai":
        EndpointHttp(rest, api_key=_key(api_key_file))
    elif kind != "local":
        ScorerClient(where, api_key=_key(api_key_file))


def _key(file: KeyFile | None) -> str | None:
    return file.key if file else None


def load_data(task: str, data: str | None, *, allow_code: bool) -> tuple[LoadedTask, Loaded]:
    """A task by name or file, with its own data or other. Raises RequestError."""
    loaded_task = load_task(task, allow_code=allow_code)
    source = data or loaded_task.data_path
    if source is None:
        builder = loaded_task.task.builder
        raise RequestError(
            f"the task {task!r} brings no data; give a file with --data"
            + (f" (`{builder}` makes one; `{builder} --help` says of what)" if builder else "")
        )
    return loaded_task, load_examples(source, loaded_task.task)


def interruptible(work: Coroutine[Any, Any, Any], console: Terminal, again: str | None = None) -> Any:
    """Runs to the end, or to Ctrl-C or another signal: then exits with 128 + its number, and says how to go on if
    `again`, a command, can."""
    try:
        return run_to_end(work)
    except (KeyboardInterrupt, SystemExit) as end:
        saved = f"; what was answered is saved. Go on with: {again}" if again else ""
        with contextlib.suppress(OSError):  # the terminal may be gone
            console.say("")
            console.say(f"stopped{saved}")
        code = end.code if isinstance(end, SystemExit) else None
        raise typer.Exit(code if isinstance(code, int) else 130) from None
