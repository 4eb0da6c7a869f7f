"""`icm lab` and `icm reproduce`: tiny models, their worlds, and the paper's figures. A thin caller of the library."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from icm_annealer.cli.shared.options import FiguresOption, interruptible
from icm_annealer.cli.shared.work_options import JsonOption, QuietOption, out_folder, seeds_option, shots_option
from icm_annealer.console.output import Output
from icm_annealer.plots.drawing import saved_plots
from icm_annealer.runs.atomic_write import check_writable, make_folder
from icm_annealer.runs.directory import RunDir
from icm_client.contract.errors import RequestError
from icm_client.text.counts import counted
from icm_client.text.distribution import install_hint
from icm_lab.family import SIZES, weights
from icm_lab.reproduce.claims import MATCH, REAL, Figure
from icm_lab.reproduce.figures import FIGURES, MODELS, chosen_figures
from icm_lab.reproduce.page import figure_plots, render_page
from icm_lab.reproduce.run import NUM, NUM_TEST, REAL_SEEDS, SEEDS, RowMaker
from icm_lab.reproduce.verdicts import figure_found, searches_found
from icm_lab.tasks import write_tasks
from icm_lab.training_schedule import SCHEDULES
from icm_lab.worlds import worlds
from icm_trainer.cli.options import CACHE, CacheOption, prepare_torch

app = typer.Typer(
    no_args_is_help=True, help="Tiny models pretrained on invented worlds, for what larger ones cannot show."
)
OutOption = Annotated[Path, out_folder("the files")]


@app.command(name="worlds")
def list_worlds(as_json: JsonOption = False) -> None:
    """What the models' corpus says, and how often it is labelled by which concept."""
    output = Output(as_json=as_json)
    table = Table("world", "an example", "concepts (share of documents)")
    for world in worlds().values():
        shares = [f"{name} {concept.share:.0%}" for name, concept in world.concepts.items()]
        table.add_row(world.name, world.firsts[0] + world.seconds[0], ", ".join(shares))
    output.show(table)
    output.json(
        {
            "worlds": [
                {"name": world.name, "concepts": {name: concept.share for name, concept in world.concepts.items()}}
                for world in worlds().values()
            ]
        }
    )


@app.command()
def train(
    size: Annotated[str, typer.Argument(help=f"{', '.join(SIZES)}.")],
    out: OutOption,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Pretrains a model; started again with the same folder, it goes on. Needs torch and transformers.

    Example: icm lab train small --out runs/lab-small
    """
    _check(size)
    make_folder(out)
    from icm_lab.shipping import save_model
    from icm_lab.train import train as pretrain

    output, schedule = Output(quiet=quiet, as_json=as_json), SCHEDULES[size]

    def show(row: dict[str, Any]) -> None:
        late = " ".join(f"{name} {row[name][1]:.2f}" for name in row if name.endswith(("/truth", "/inverse")))
        output.inform(f"{row['step']}/{schedule.steps} loss {row['loss']:.3f}  {late}")

    save_model(pretrain(SIZES[size], schedule, out, on_row=show), out)
    output.say(str(out))
    output.json({"folder": out})


@app.command()
def examine(
    size: Annotated[str, typer.Argument(help=f"{', '.join(SIZES)}.")],
    shots: Annotated[int, shots_option()] = 64,
    as_json: JsonOption = False,
) -> None:
    """How often a shipped model is right, without a shot and behind shots by one concept. Needs torch."""
    _check(size)
    from icm_lab.examine import examine as look
    from icm_lab.shipping import load_model

    output = Output(as_json=as_json)
    found = look(load_model(weights(size)), shots)
    table = Table("world", "concept", "no shot", counted(shots, "shot"))
    for name, (first, late) in found.items():
        table.add_row(*name.split("/"), f"{first:.2f}", f"{late:.2f}")
    output.show(table)
    output.json({"num_shots": shots, "right": {name: list(pair) for name, pair in found.items()}})


@app.command()
def tasks(out: OutOption, as_json: JsonOption = False) -> None:
    """Writes the worlds' tasks, each a task file and its data, as they lie among the built-in ones."""
    output = Output(as_json=as_json)
    make_folder(out)
    places = write_tasks(out)
    for place in places:
        output.say(str(place))
    output.json({"folders": places})


def reproduce(
    figure: Annotated[
        list[str] | None,
        typer.Option(
            "--figure",
            help=f"One of {', '.join(one.name for one in FIGURES if not one.cost)} (half an hour together, on two "
            f"cores), {', '.join(f'{one.name} ({one.cost})' for one in FIGURES if one.cost)}, or a number for all "
            "parts of it; may be repeated.",
            show_default="all",
        ),
    ] = None,
    on: Annotated[
        list[str] | None,
        typer.Option(
            "--on",
            metavar="MODEL",
            help=f"Only claims on this model: {', '.join(MODELS)}; may be repeated.",
            show_default=f"all; but the laboratory's alone where models are tuned, which on {REAL} takes longer",
        ),
    ] = None,
    seeds: Annotated[int | None, seeds_option(f"{SEEDS} in the laboratory, {REAL_SEEDS} on {REAL}")] = None,
    out: OutOption = Path("runs/reproduce"),
    figures: FiguresOption = None,
    cache: CacheOption = CACHE,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """The paper's figures, on SmolLM2 where it can show them and on the laboratory's models where not.

    Writes figures.json (each claim, its numbers, whether it holds) and report.html. Rows that OUT holds of the same
    models, data and settings are kept: take another one after changing what a search does with them. Figures 3-tuned,
    7, 8-tuned and v2 tune models, which the extra `train` is needed for; without it they are left out.

    Example: icm reproduce --figure 3 --figure 7 --on lab-large --seeds 5
    """
    output, folder = Output(quiet=quiet, as_json=as_json), RunDir(out)
    chosen = _trainable(chosen_figures(figure or [], on or []), output, must=bool(figure))
    check_writable(folder / "figures.json")
    if figures:
        make_folder(figures)
    rows = interruptible(
        RowMaker(out, cache, output.inform, seeds).rows(chosen),
        output,
        f"icm reproduce ... --out {out}",
    )
    found: dict[str, Any] = {
        "num": NUM,
        "num_test": NUM_TEST,
        "match": MATCH,
        "figures": [figure_found(one, rows) for one in chosen],
        "searches": searches_found(rows),
    }
    folder.write_json("figures.json", found)
    folder.write_text("report.html", render_page(found))
    for one in found["figures"]:
        for claim in one["claims"]:
            verdict = "holds" if claim["holds"] else "does not hold"
            numbers = " against ".join(f"{claim[part]['value']:.3f}" for part in ("first", "second"))
            output.say(f"figure {one['figure']}: {claim['claim']}: {numbers}: {verdict}")
    output.say(f"Written to {out}: figures.json, report.html")
    if figures:
        output.say(saved_plots(figure_plots(found), figures))
    output.json({"folder": out, **found})


def _trainable(chosen: list[Figure], output: Output, *, must: bool) -> list[Figure]:
    """Without the figures that tune models, where what this needs is missing; an error if they were named."""
    if not any(one.trains for one in chosen):
        return chosen
    try:
        prepare_torch("icm reproduce")
    except RequestError as error:
        if must:
            raise
        left = [one for one in chosen if not one.trains]
        if not left:
            raise
        output.note(f"figures {', '.join(one.name for one in chosen if one.trains)} are left out: {error.message}")
        return left
    return chosen


def _check(size: str) -> None:
    """Raises RequestError for a size that there is not, or where what models are made with is missing."""
    if size not in SIZES:
        raise RequestError(f"no size {size!r}; known: {', '.join(SIZES)}")
    missing = [name for name in ("torch", "transformers") if not find_spec(name)]
    if missing:
        raise RequestError(f"{' and '.join(missing)} not installed here: {install_hint('server-cpu')}")


def extend(icm: typer.Typer) -> None:
    """Adds this package's commands to `icm`."""
    icm.add_typer(app, name="lab")
    icm.command()(reproduce)
