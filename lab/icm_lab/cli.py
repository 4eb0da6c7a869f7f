"""`icm lab`: pretrains the laboratory's models and makes its tasks. A thin caller of the library."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from icm_client.errors import RequestError
from icm_lab.course import COURSES
from icm_lab.family import SIZES, weights
from icm_lab.tasks import write_tasks
from icm_lab.worlds import worlds

app = typer.Typer(
    no_args_is_help=True, help="Tiny models pretrained on invented worlds, for what larger ones cannot show."
)
OutOption = Annotated[Path, typer.Option("--out", help="The folder to write into.")]


@app.command(name="worlds")
def list_worlds() -> None:
    """What the models' corpus says, and how often it is labelled by which concept."""
    console = Console()
    table = Table("world", "an example", "concepts (share of documents)")
    for world in worlds().values():
        shares = [f"{name} {concept.share:.0%}" for name, concept in world.concepts.items()]
        table.add_row(world.name, world.firsts[0] + world.seconds[0], ", ".join(shares))
    console.print(table)


@app.command()
def train(
    size: Annotated[str, typer.Argument(help=f"{', '.join(SIZES)}.")],
    out: OutOption,
) -> None:
    """Pretrains a model; started again with the same folder, it goes on. Needs torch and transformers.

    Example: icm lab train small --out runs/lab-small
    """
    from icm_lab.shipping import save_model
    from icm_lab.train import train as pretrain

    if size not in SIZES:
        raise RequestError(f"no size {size!r}; known: {', '.join(SIZES)}")
    console, course = Console(), COURSES[size]

    def show(row: dict[str, Any]) -> None:
        late = " ".join(f"{name} {row[name][1]:.2f}" for name in row if name.endswith(("/truth", "/inverse")))
        console.print(f"{row['step']}/{course.steps} loss {row['loss']:.3f}  {late}", highlight=False)

    save_model(pretrain(SIZES[size], course, out, on_row=show), out)


@app.command()
def examine(size: Annotated[str, typer.Argument(help=f"{', '.join(SIZES)}.")], shots: int = 64) -> None:
    """How often a shipped model is right, without a shot and behind shots by one concept. Needs torch."""
    from icm_lab.examine import examine as look
    from icm_lab.shipping import load_model

    console = Console()
    table = Table("world", "concept", "no shot", f"{shots} shots")
    for name, (first, late) in look(load_model(weights(size)), shots).items():
        table.add_row(*name.split("/"), f"{first:.2f}", f"{late:.2f}")
    console.print(table)


@app.command()
def tasks(out: OutOption) -> None:
    """Writes the worlds' tasks, each a task file and its data, as they lie among the built-in ones."""
    for place in write_tasks(out):
        print(place)
