"""`icm show`: a thin caller."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from icm_annealer.console.terminal import Terminal
from icm_annealer.reporting.row_list import RowFilter, lines, listed_rows


def show(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
    label: Annotated[str | None, typer.Option(help="Only rows with this label.")] = None,
    least_certain: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Only the N least certain rows, the least certain first.")
    ] = None,
    differs_from: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Only rows that have another label in this run.")
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="JSON lines instead of a table.")] = False,
) -> None:
    """Show a run's labels beside their texts.

    Example: icm show runs/first --least-certain 20
    """
    rows = listed_rows(run, RowFilter(label, least_certain, differs_from))
    console = Terminal()
    if json_:
        for one in rows:
            console.say(one.to_json())
        return
    if not rows:
        Terminal(stderr=True).say("no row fits")
        return
    for line in lines(rows):
        console.print(
            line, no_wrap=True, overflow="ellipsis", crop=console.is_terminal, soft_wrap=not console.is_terminal
        )
