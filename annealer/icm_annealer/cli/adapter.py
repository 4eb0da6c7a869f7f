"""`icm adapter`: LoRA adapters on a running scorer. A thin caller of the client."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.table import Table

from icm_annealer.cli.shared.options import SCORER_VARIABLE, KeyFile, KeyOption, WaitOption, interruptible
from icm_annealer.cli.shared.work_options import JsonOption, QuietOption
from icm_annealer.console.output import Output
from icm_annealer.scorers.kind import Opening
from icm_client import AdapterInfo, RequestError, ScorerClient

_Answer = TypeVar("_Answer")

app = typer.Typer(no_args_is_help=True, help="LoRA adapters on a running scorer.")

NameArgument = Annotated[str, typer.Argument(help="Its name on the scorer, which requests give as their model.")]
UrlOption = Annotated[
    str,
    typer.Option("--scorer", envvar=SCORER_VARIABLE, help="The scorer's URL, such as http://gpu-box:8000."),
]
SharedOption = Annotated[bool, typer.Option("--shared", help="For all keys; needs an admin key.")]


@app.command()
def put(
    name: NameArgument,
    folder: Annotated[Path, typer.Argument(help="The adapter's folder, as peft writes it.")],
    scorer: UrlOption,
    on_server: Annotated[
        bool, typer.Option("--on-server", help="FOLDER is below the scorer's own --adapter-dir; nothing is sent.")
    ] = False,
    shared: SharedOption = False,
    api_key_file: KeyOption = None,
    wait: WaitOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Have a scorer serve an adapter, in place of one of the same name.

    Example: icm adapter put topics runs/topics/adapter --scorer http://gpu-box:8000
    """

    def work(client: ScorerClient) -> Awaitable[AdapterInfo]:
        if on_server:
            return client.put_adapter(name, server_folder=str(folder), shared=shared)
        return client.put_adapter(name, folder, shared=shared)

    output = Output(quiet=quiet, as_json=as_json)
    info = _asked(output, scorer, api_key_file, wait, work)
    output.json(info.model_dump())
    output.say(f"{info.name}: rank {info.rank}, {info.num_modules} layers, {_size(info)}, {info.digest[:12]}")


@app.command(name="list")
def list_(
    scorer: UrlOption,
    api_key_file: KeyOption = None,
    wait: WaitOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """List the adapters that this key may use."""
    output = Output(quiet=quiet, as_json=as_json)
    found = _asked(output, scorer, api_key_file, wait, lambda client: client.adapters())
    output.json(found.model_dump())
    if found.adapters:
        table = Table(box=None, header_style="bold")
        for column in ("name", "rank", "size", "reads", "for", "digest"):
            table.add_column(column, justify="right" if column in ("rank", "size", "reads") else "left")
        for info in found.adapters:
            whose = "all keys, from the start" if info.fixed else "all keys" if info.shared else "this key"
            table.add_row(info.name, str(info.rank), _size(info), f"{info.reads:,}", whose, info.digest[:12])
        output.show(table)
    else:
        output.note("no adapters")
    if not found.takes_more:
        output.note("this scorer takes no others: it was started without --adapter-store")


@app.command()
def delete(
    name: NameArgument,
    scorer: UrlOption,
    shared: SharedOption = False,
    api_key_file: KeyOption = None,
    wait: WaitOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Take an adapter off a scorer. Requests that run end with it."""
    output = Output(quiet=quiet, as_json=as_json)
    info = _asked(output, scorer, api_key_file, wait, lambda client: client.delete_adapter(name, shared=shared))
    output.json(info.model_dump())
    output.say(f"{info.name} is deleted")


def _asked(
    output: Output,
    url: str,
    key: KeyFile | None,
    wait_s: float | None,
    work: Callable[[ScorerClient], Awaitable[_Answer]],
) -> _Answer:
    """What the scorer at the URL answers, once it is ready."""
    if not url.startswith(("http://", "https://")):
        raise RequestError(f"--scorer {url!r} is not the URL of a running scorer, such as http://gpu-box:8000")

    @functools.cache
    def inform(text: str) -> None:  # once, however often it is asked
        output.inform(text)

    async def asked() -> _Answer:
        opening = Opening(lambda: key.key if key else None, wait_s=wait_s, status=inform)
        retry = opening.retry
        async with ScorerClient(url, api_key=opening.read_key(), retry=retry) as client:
            await client.wait_ready(retry.patience_s, opening.on_wait, unreachable_s=retry.unreachable_s)
            for note in client.notes:
                output.note(note)
            return await work(client)

    answer: _Answer = interruptible(asked(), output)
    return answer


def _size(info: AdapterInfo) -> str:
    return f"{info.num_bytes / 2**20:.1f} MB"
