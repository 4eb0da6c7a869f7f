"""`icm`: the annealer's command line. Only this room reads argv and the environment."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import itertools
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from icm_annealer.cli.adapter import app as adapter_app
from icm_annealer.cli.after_search import evaluate, report, runs
from icm_annealer.cli.baselines import baselines
from icm_annealer.cli.bench import bench, search_bench
from icm_annealer.cli.data import app as data_app
from icm_annealer.cli.demo import demo
from icm_annealer.cli.export import export
from icm_annealer.cli.init import init
from icm_annealer.cli.large.extend import extend
from icm_annealer.cli.large.plan import plan
from icm_annealer.cli.large.sweep import sweep
from icm_annealer.cli.review import review
from icm_annealer.cli.run import resume_run, run
from icm_annealer.cli.score import score
from icm_annealer.cli.shared.ending import ended_in_order
from icm_annealer.cli.show import show
from icm_annealer.cli.tasks import check_task, tasks
from icm_annealer.console.output import Output
from icm_annealer.data.bad_rows import BadRowsError
from icm_client import IcmError, RequestError
from icm_client.text.distribution import version

WrongUsage: Any = typer.BadParameter.__bases__[0]
"""The exception for options and arguments that are refused."""

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Label a dataset with the labels that a language model finds most coherent; none are needed to start with.\n\n"
    "Start with [bold]icm demo[/]. For your own data, [bold]icm init[/] writes a task file for [bold]icm run[/].",
)


def _show_version(is_asked: bool) -> None:
    if is_asked:
        Output().say(f"icm {version()}")
        raise typer.Exit


@app.callback()
def _icm(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


task_app = typer.Typer(no_args_is_help=True, help="Check a task.")
app.add_typer(task_app, name="task")
app.add_typer(data_app, name="data")
app.add_typer(adapter_app, name="adapter")

app.command()(init)
app.command()(run)
app.command(name="resume")(resume_run)
app.command()(extend)
app.command()(plan)
app.command()(sweep)
app.command()(demo)
app.command()(score)
app.command()(tasks)
task_app.command(name="check")(check_task)
app.command()(bench)
app.command(name="search-bench")(search_bench)
app.command()(runs)
app.command()(show)
app.command()(review)
app.command()(report)
app.command(name="eval")(evaluate)
app.command()(baselines)
app.command()(export)

BUILT_ON_THIS = {"icm_trainer": "icm_trainer.cli.app", "icm_lab": "icm_lab.cli"}
"""Optional packages that build on this one, so they are not imported by name; and their modules with commands."""
for package, commands in BUILT_ON_THIS.items():
    if importlib.util.find_spec(package):
        importlib.import_module(commands).extend(app)


def main() -> None:
    """Runs the command line. A user's mistake ends in one line and exit code 2, a scorer's failure in exit code 1."""
    try:
        with ended_in_order():
            check_values(sys.argv[1:])
            sys.exit(_command()(standalone_mode=False))
    except WrongUsage as error:
        if text := error.format_message().replace("Value error, ", ""):  # none where help is shown instead
            Output().fail(f"{text.rstrip('.')} (see `{error.ctx.command_path} --help`)" if error.ctx else text)
        sys.exit(2)
    except BadRowsError as error:
        Output().fail(error.message, error.table)
        sys.exit(2)
    except IcmError as error:
        Output().fail(error.message)
        sys.exit(2 if isinstance(error, RequestError) else 1)
    except OSError as error:
        Output().fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        sys.exit(2)
    except Exception:  # a bug in this program; its message may still contain untrusted text
        Output().trace(traceback.format_exc())
        sys.exit(1)
    finally:
        _drop_unwritable_output()


EMPTY_MEANS = ("--stop", "--prompt")
"""Options whose empty value says something."""


def check_values(arguments: Sequence[str]) -> None:
    """Raises RequestError for what a shell makes of a variable that is not set, an option with an empty value, which
    would name the current folder or be taken for no option at all; and for a ~ that it did not expand."""
    for name, given in itertools.pairwise([*arguments, "--"]):
        option, equals, value = name.partition("=")
        if not option.startswith("--") or option == "--" or option in EMPTY_MEANS:
            continue
        text = value if equals else given
        if text == "":
            raise RequestError(f"{option} is empty: is a variable not set?")
        if option == "--out" and text.startswith("~"):
            raise RequestError(f"{option} {text}: the shell did not expand the ~; write the folder's whole path")


@functools.cache
def _command() -> Callable[..., Any]:
    """The commands of `app` with their options. typer takes 50 ms to build them, so they are built once."""
    return typer.main.get_command(app)


def _drop_unwritable_output() -> None:
    """What a closed terminal or pipe did not take would be written once more at exit, and make the exit code 120."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


if __name__ == "__main__":
    main()
