"""Writes docs/commands.md out of the commands themselves: `make commands`."""

from __future__ import annotations

import html
import re
from pathlib import Path

import typer
from typer.cli import get_docs_for_click

from icm_annealer.cli.app import app as icm
from icm_server.cli.app import app as icm_server

PAGE = Path(__file__).parents[1] / "docs/commands.md"
HEAD = """\
# Commands

<!-- `make commands` writes this page. -->

`icm` labels datasets, `icm-server` serves a model. Both print this text for `--help`.

"""


def page() -> str:
    """Every command with its arguments, options, defaults and help."""
    return HEAD + "\n".join(section(name, app) for name, app in (("icm", icm), ("icm-server", icm_server)))


def section(name: str, app: typer.Typer) -> str:
    """One program, as Typer writes it, in plain Markdown."""
    command = typer.main.get_command(app)
    text = html.unescape(get_docs_for_click(obj=command, ctx=typer.Context(command), name=name, indent=1))
    text = re.sub(r"\[bold\](.*?)\[/\]", r"`\1`", text)
    text = re.sub(r"^\*\*Commands\*\*:\n\n(\*.*\n)+\n", "", text, flags=re.MULTILINE)  # the headings say it
    text = text.replace("* `--help`: Show this message and exit.\n", "").replace("**Options**:\n\n\n", "")
    text = re.sub(r"^Example: (.*)$", r"```sh\n\1\n```", text, flags=re.MULTILINE)
    text = re.sub(r"^\* `.*$", lambda line: item(line[0]), text, flags=re.MULTILINE)
    return text.replace("```console\n$ ", "```text\n").replace("**Usage**:\n\n", "").rstrip() + "\n"


def item(line: str) -> str:
    """An option or argument: what it takes by itself in round brackets, and no markup but for code."""
    line = re.sub(r"(?:(?<=`: )|  )\[([^\[]*)\]$", r" (\1)", line).replace(":  (", ": (")
    parts = line.split("`")
    parts[2::2] = [re.sub(r"([\[\]*])", r"\\\1", part) for part in parts[2::2]]
    return "`".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page())
