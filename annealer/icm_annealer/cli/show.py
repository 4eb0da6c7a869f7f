"""`icm show`: a thin caller."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from icm_annealer.cli.shared.bounds import MAX_COUNT
from icm_annealer.cli.shared.work_options import JsonOption, QuietOption
from icm_annealer.console.output import Output
from icm_annealer.reporting.row_list import RowFilter, lines, listed_rows


def show(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
    label: Annotated[str | None, typer.Option(help="Only rows with this label.")] = None,
    least_certain: Annotated[
        int | None,
        typer.Option(min=1, max=MAX_COUNT, metavar="N", help="Only the N least certain rows, the least certain first."),
    ] = None,
    differs_from: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Only rows that have another label in this run.")
    ] = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show a run's labels beside their texts.

    Example: icm show runs/first --least-certain 20
    """
    rows = listed_rows(run, RowFilter(label, least_certain, differs_from))
    output = Output(quiet=quiet, as_json=as_json)
    output.json({"run": run, "rows": [one.to_dict() for one in rows]})
    if not rows:
        output.note("no row fits")
        return
    for line in lines(rows):
        output.text.print(line, no_wrap=True, overflow="ellipsis", soft_wrap=not output.text.is_terminal)
