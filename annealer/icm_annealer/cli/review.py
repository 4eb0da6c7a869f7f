"""`icm review`: a thin caller."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from icm_annealer.console.output import Output
from icm_annealer.evaluation.agreement import agreement
from icm_annealer.reviewing.review import Review
from icm_annealer.reviewing.server import ReviewServer
from icm_annealer.runs.review_file import Decided


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
    output = Output()
    with ReviewServer(reviewed, port) as server:
        output.say(server.url)
        output.inform("Open this address in a browser on this machine. Ctrl-C ends the review.")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            output.inform("")
    rows = reviewed.rows()
    output.say(f"{Decided.of(rows)}.")
    found = agreement(rows)
    if found.num:
        output.say(f"{found}.")
