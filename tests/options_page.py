"""Writes docs/options.md out of the commands themselves: `make commands`. Says where an option's name has more than one
meaning."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import typer
from typer.models import OptionInfo

from icm_annealer.cli.app import app as icm

PAGE = Path(__file__).parents[1] / "docs/options.md"
HEAD = """\
# Options

<!-- `make commands` writes this page. -->

An option has the same meaning, type and default in every command of `icm` that takes it. The few differences are named
below the tables, with their reasons. `icm COMMAND --help` shows the options of one command.

"""
ASPECTS = ("type", "bounds", "form", "variable", "default", "meaning")
"""What is the same of all options of one name."""


class Exempt(NamedTuple):
    """What may differ between commands, and why."""

    aspects: tuple[str, ...]
    reason: str


EXEMPT = {
    "--out": Exempt(
        ("form", "default", "meaning"),
        "it is always where the result is written; each command names its result, and whether that is a FILE or a "
        "FOLDER of several. A result that is named after its input has that default.",
    ),
    "--scorer": Exempt(
        ("variable", "default", "meaning"),
        "`icm eval` and `icm resume` take the scorer of the run, `icm task check` asks a model only if one is named, "
        "`icm bench` measures plans on a model that takes no time, and only a running icm-server has adapters. "
        "`icm resume` reads no environment variable, since another model could not go on.",
    ),
    "--api-key-file": Exempt(
        ("variable", "default"), "`icm resume` takes the file of the run, as it takes the run's scorer."
    ),
    "--task": Exempt(
        ("default",), "`icm demo` shows a built-in task; after a run the task is the run's own; else it must be named."
    ),
    "--data": Exempt(("default",), "after a run the rows are the run's own, before it the task's."),
    "--seeds": Exempt(
        ("default",), "`icm baselines` compares methods, and a comparison of one seed has no spread: it takes 5."
    ),
    "--max-tokens": Exempt(
        ("meaning",),
        "`icm sweep` has one budget for all runs; a run that it ends is not finished, and goes on with a larger one.",
    ),
    "--sizes": Exempt(("default",), "a pass is measured at more sizes than whole searches."),
    "--shots": Exempt(
        ("default",),
        "`icm eval` takes all; `icm extend`, which reads every row behind its shots, few; the laboratory's models have "
        "a window for 64.",
    ),
    "--methods": Exempt(
        ("default", "meaning"), "`icm baselines` compares more than searches; the methods of each command are listed."
    ),
    "--better": Exempt(
        ("default", "meaning"), "`icm export` needs it for some formats alone, and reads it off the rules too."
    ),
    "--prompt": Exempt(("form", "default", "meaning"), "`icm export` needs it for some formats alone."),
    "--response": Exempt(
        ("form", "meaning"), "`icm export` needs it for some formats alone, of which some read one response."
    ),
    "--test": Exempt(
        ("default", "meaning"), "`icm train eval-rm` judges pairs, so that it also takes a file of preferences."
    ),
    "--base": Exempt(
        ("default", "meaning"),
        "a policy starts from the reward model's base, which may be replaced by a model that already writes responses.",
    ),
    "--batch": Exempt(("bounds", "default", "meaning"), "`icm train rl` counts prompts, each with several responses."),
    "--prompts": Exempt(("default",), "a training takes all prompts of the task, a comparison those held out from it."),
    "--judge": Exempt(
        ("default",), "`icm assistant` makes a judge where it has gold labels; `icm train eval-rl` must be given one."
    ),
    "--gold": Exempt(("default",), "each command guesses it from its own rows."),
}


class Use(NamedTuple):
    """An option of one command."""

    command: str
    name: str
    type: str
    bounds: str
    form: str
    variable: str
    default: str
    meaning: str


def uses(app: typer.Typer = icm) -> Iterator[Use]:
    """Every option of every command."""
    for command, function in _commands(app, ()):
        defaults = inspect.signature(function).parameters
        for parameter, hint in typing.get_type_hints(function, include_extras=True).items():
            info = next((part for part in getattr(hint, "__metadata__", ()) if isinstance(part, OptionInfo)), None)
            if info is not None:
                yield _use(command, parameter, hint.__origin__, info, defaults[parameter].default)


def by_name(found: Sequence[Use]) -> Mapping[str, list[Use]]:
    """The same, gathered by the name of the option."""
    return {name: [use for use in found if use.name == name] for name in sorted({use.name for use in found})}


def differing(found: Sequence[Use]) -> tuple[str, ...]:
    """The aspects in which uses of one name differ."""
    return tuple(aspect for aspect in ASPECTS if len({getattr(use, aspect) for use in found}) > 1)


def page() -> str:
    """Options of several commands, then the differences, then those of one command."""
    names = by_name(list(uses()))
    shared = {name: found for name, found in names.items() if len(found) > 1}
    lines = [HEAD + "## Of several commands\n", "| option | meaning | default | commands |", "|---|---|---|---|"]
    for found in shared.values():
        meanings, defaults = (_each(found, aspect) for aspect in ("meaning", "default"))
        commands = ", ".join(f"`{use.command}`" for use in found)
        lines.append(f"| {_option(found[0])} | {meanings} | {defaults} | {commands} |")
    lines += ["\n## What differs, and why\n", *(f"* `{name}`: {exempt.reason}" for name, exempt in EXEMPT.items())]
    lines += ["\n## Of one command\n", "| option | command | meaning | default |", "|---|---|---|---|"]
    for name, found in names.items():
        if name not in shared:
            use = found[0]
            lines.append(f"| {_option(use)} | `{use.command}` | {_cell(use.meaning)} | {_cell(use.default)} |")
    return "\n".join(lines) + "\n"


def _commands(app: typer.Typer, path: tuple[str, ...]) -> Iterator[tuple[str, typing.Callable[..., object]]]:
    for command in app.registered_commands:
        assert command.callback is not None
        name = command.name or command.callback.__name__.replace("_", "-").strip("-")
        yield " ".join([*path, name]), command.callback
    for group in app.registered_groups:
        assert group.typer_instance is not None
        yield from _commands(group.typer_instance, (*path, str(group.name)))


def _use(command: str, parameter: str, kind: object, info: OptionInfo, default: object) -> Use:
    stated = [one for one in (info.default, *(info.param_decls or ())) if isinstance(one, str) and one[:1] == "-"]
    name = stated[0].partition("/")[0] if stated else "--" + parameter.replace("_", "-")
    types = [one for one in typing.get_args(kind) or (kind,) if one is not type(None)]
    shown = info.show_default if isinstance(info.show_default, str) else _default(default)
    bounds = f"{'' if info.min is None else f'{info.min:g}'}..{'' if info.max is None else f'{info.max:g}'}"
    return Use(
        command,
        name,
        " or ".join(getattr(one, "__name__", str(one)) for one in types),
        bounds,
        info.metavar or "",
        str(info.envvar or ""),
        shown,
        info.help or "",
    )


def _default(value: object) -> str:
    if value in (inspect.Parameter.empty, ...):
        return "must be given"
    return "" if value is None or value is False else str(value)


def _each(found: Sequence[Use], aspect: str) -> str:
    """The value, or the values with the commands that have them."""
    values: dict[str, list[str]] = {}
    for use in found:
        values.setdefault(getattr(use, aspect), []).append(use.command)
    if len(values) == 1:
        return _cell(next(iter(values)))
    return "; ".join(f"{_cell(value) or 'none'} ({', '.join(commands)})" for value, commands in values.items())


def _option(use: Use) -> str:
    """`--out FOLDER`; without the form where commands have different ones."""
    is_one = use.name not in EXEMPT or "form" not in EXEMPT[use.name].aspects
    return f"`{use.name}{' ' + use.form if use.form and is_one else ''}`".replace("|", "\\|")


def _cell(text: str) -> str:
    parts = text.replace("|", "\\|").replace("\n", " ").split("`")
    parts[::2] = [re.sub(r"([\[\]*])", r"\\\1", part) for part in parts[::2]]  # not in code
    return "`".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page())
