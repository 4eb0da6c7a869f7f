"""`icm`: the annealer's command line. argv and environment are read in this room only."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable
from typing import Any

import typer

from icm_annealer.cli.after_search import evaluate, report, runs
from icm_annealer.cli.baselines import baselines
from icm_annealer.cli.bench import bench, search_bench
from icm_annealer.cli.data import app as data_app
from icm_annealer.cli.demo import demo
from icm_annealer.cli.ending import ended_in_order
from icm_annealer.cli.export import export
from icm_annealer.cli.run import run
from icm_annealer.cli.score import score
from icm_annealer.cli.tasks import check_task, tasks
from icm_annealer.console.terminal import Terminal
from icm_client import IcmError, RequestError

WrongUsage: Any = typer.BadParameter.__bases__[0]
"""What options and arguments are refused with."""

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Label a dataset with what a language model finds most coherent. No labels needed.\n\n"
    "Start with [bold]icm demo[/]. For your own data, write a task file and use [bold]icm run[/].",
)

task_app = typer.Typer(no_args_is_help=True, help="Look at a task.")
app.add_typer(task_app, name="task")
app.add_typer(data_app, name="data")

app.command()(run)
app.command()(demo)
app.command()(score)
app.command()(tasks)
task_app.command(name="check")(check_task)
app.command()(bench)
app.command(name="search-bench")(search_bench)
app.command()(runs)
app.command()(report)
app.command(name="eval")(evaluate)
app.command()(baselines)
app.command()(export)

LABORATORY = "icm_lab"
"""Builds on this package, so it is not imported by its name; it may be missing."""
if importlib.util.find_spec(LABORATORY):
    importlib.import_module(f"{LABORATORY}.cli").extend(app)


def main() -> None:
    """Runs the command line; a user's mistake ends in one line and exit code 2, a scorer's failure in 1."""
    try:
        with ended_in_order():
            sys.exit(_command()(standalone_mode=False))
    except WrongUsage as error:
        if told := error.format_message().replace("Value error, ", ""):  # none where help is shown instead
            _told(f"{told.rstrip('.')} (see `{error.ctx.command_path} --help`)" if error.ctx else told)
        sys.exit(2)
    except IcmError as error:
        _told(error.message)
        sys.exit(2 if isinstance(error, RequestError) else 1)
    except OSError as error:
        _told(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        sys.exit(2)
    except Exception:  # a mistake of this program: its texts may be anybody's all the same
        Terminal(stderr=True).print(traceback.format_exc(), soft_wrap=True)
        sys.exit(1)


@functools.cache
def _command() -> Callable[..., Any]:
    """The commands of `app` with their options. typer takes 50 ms to build them, so they are built once."""
    return typer.main.get_command(app)


def _told(text: str) -> None:
    Terminal(stderr=True).say(f"error: {text}")


if __name__ == "__main__":
    main()
