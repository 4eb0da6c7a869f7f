"""`icm show` and `icm review`: a run's labels, looked at and corrected. Thin callers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from icm_annealer.console.terminal import Terminal
from icm_annealer.evaluation.agreement import agreement
from icm_annealer.reporting.row_list import RowFilter, lines, listed_rows
from icm_annealer.reviewing.review import Review
from icm_annealer.reviewing.server import ReviewServer
from icm_annealer.runs.review_file import Decided


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


def review(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
    port: Annotated[
        int, typer.Option(min=0, max=65_535, help="The page's port on 127.0.0.1.", show_default="any free one")
    ] = 0,
) -> None:
    """Look at a run's labels on a page, the least certain first, and accept or change them.

    Prints the page's address, which holds a secret: whoever knows it, on this machine, may decide labels. Decisions are
    saved at once, in RUN/review.jsonl; all other commands use them. Ctrl-C ends the program.

    Example: icm review runs/first
    """
    reviewed = Review(run)
    console = Terminal()
    with ReviewServer(reviewed, port) as server:
        console.say(server.url)
        console.say("Open this address in a browser on this machine. Ctrl-C ends the review.")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            console.say("")
    rows = reviewed.rows()
    console.say(f"{Decided.of(rows)}.")
    found = agreement(rows)
    if found.num:
        console.say(f"{found}.")
