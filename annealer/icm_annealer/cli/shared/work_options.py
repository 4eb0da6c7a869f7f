"""Options that many commands share: where results go, what is printed, and what is drawn at random.

An option has one meaning, one type and one default in all commands; docs/options.md lists the exceptions.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from icm_annealer.cli.shared.bounds import MAX_COUNT
from icm_annealer.searches.settings import MAX_SEED

QuietOption = Annotated[
    bool, typer.Option("--quiet", help="Print only the result, warnings and errors: no progress and no notes.")
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="Print the result as one JSON object, and nothing else on stdout.")
]


def _out(form: str, what: str, default: str | None) -> Any:
    return typer.Option("--out", metavar=form, help=f"Where to write {what}.", show_default=default or True)


def out_folder(what: str, default: str | None = None) -> Any:
    """`--out` of a command that writes a folder; `default` says where it lies if that is not a fixed path."""
    return _out("FOLDER", what, default)


def out_file(what: str, default: str | None = None) -> Any:
    """`--out` of a command that writes one file."""
    return _out("FILE", what, default)


def methods_option(names: str, default: str) -> Any:
    """`--methods` of a command that compares some of these."""
    return typer.Option(
        "--methods",
        metavar="NAME,NAME",
        help=f"What to compare, separated by commas: of {names}.",
        show_default=default,
    )


def gold_option(default: str) -> Any:
    """`--gold`, the field of labels that only evaluation may see."""
    text = "The field with gold labels, which no search sees; `none` if there is none."
    return typer.Option("--gold", metavar="NAME", help=text, show_default=default)


OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Replace what --out holds, which otherwise is an error.")
]
ResumeOption = Annotated[
    bool, typer.Option("--resume", help="Continue what --out holds, with the same data, model and settings.")
]
SeedOption = Annotated[
    int,
    typer.Option("--seed", min=0, max=MAX_SEED, help="Determines everything random; with --seeds, the first of them."),
]


def seeds_option(default: str | None = None) -> Any:
    """`--seeds`; `default` describes one that depends on other options."""
    text = "How many repetitions, each with other draws."
    return typer.Option("--seeds", metavar="N", min=1, max=1000, help=text, show_default=default or True)


def sizes_option(default: str | None = None) -> Any:
    """`--sizes`; `default` describes one that depends on other options."""
    text = "The numbers of examples to measure with, separated by commas."
    return typer.Option("--sizes", metavar="N,N", help=text, show_default=default or True)


SeedsOption = Annotated[int, seeds_option()]
SizesOption = Annotated[str, sizes_option()]
FirstOption = Annotated[
    int | None,
    typer.Option("--first", metavar="N", min=2, max=MAX_COUNT, help="Use only the first N rows.", show_default="all"),
]
ExamplesOption = Annotated[
    int,
    typer.Option("--examples", metavar="N", min=8, max=MAX_COUNT, help="How many examples to label, drawn at random."),
]
TestSizeOption = Annotated[
    int,
    typer.Option(
        "--test-size", metavar="N", min=1, max=MAX_COUNT, help="The most unseen examples to test on, drawn at random."
    ),
]


def shots_option(default: str | None = None) -> Any:
    """`--shots`; `default` describes one that is not a number."""
    text = "How many labelled examples to prompt with."
    return typer.Option("--shots", metavar="N", min=1, max=MAX_COUNT, help=text, show_default=default or True)


ShotsOption = Annotated[int | None, shots_option("all")]
ExperimentOption = Annotated[
    str | None,
    typer.Option(
        "--experiment",
        metavar="NAME",
        help="The name under which a scorer counts this work. Work of one name has one share of the engine, and one of "
        "several scorers.",
        show_default="a name of each run's own, after its folder",
    ),
]
AbstainOption = Annotated[
    float | None,
    typer.Option(
        "--abstain-below",
        metavar="P",
        min=0.0,
        max=1.0,
        help="Leave out labels whose certainty, their probability, is below P.",
    ),
]
