"""What the scorer has to reach, measured: `python -m tests.bench [NAME...]`, into bench.json.

Real vLLM on this machine, which should have nothing else to do. Each takes two to five minutes, `repeats`,
`annealer-memory` and `endurance` ten. `equal-fake`, `light-fake`, `names`, `pool`, `spread` and `sweep` use the fake
engine at a given speed, and `front` measures processor time: for these, a machine that has other things to do is good
enough.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from tests.bench import (
    annealer_memory,
    endurance,
    front,
    many_names,
    memory,
    pools,
    repeated,
    repeats,
    spread,
    sweep,
    tenants,
    throughput,
)
from tests.bench.figure import Figure

from icm_annealer.benchmarks.results_file import check_figures, machine, read_figures, save_figures
from icm_annealer.console.terminal import Terminal

Measure = Callable[[Console], Awaitable[list[Figure]]]

FAKE_TOKENS_PER_S = 20_000

MEASURES: dict[str, Measure] = {
    "http": lambda console: throughput.http(console, 20, 10),
    "http-long": lambda console: throughput.http(console, 5, 60),
    "stock": lambda console: throughput.stock(console, 3, 60),
    "stock-tiny": lambda console: throughput.stock(console, 3, 60, fast=False),
    "smollm2": lambda console: throughput.language_model(console, 4, 10),
    "smollm2-fixed": lambda console: throughput.fixed_order(console, 3, 10),
    "eight": lambda console: tenants.eight(console, 5, 10),
    "equal": lambda console: tenants.equal(console, 3, 10),
    "light": lambda console: tenants.light(console, 3, 10),
    "light-long": lambda console: tenants.light(console, 3, 60),
    "equal-keys": lambda console: tenants.equal(console, 3, 10, by_key=True),
    "light-keys": lambda console: tenants.light(console, 3, 10, by_key=True),
    "equal-fake": lambda console: tenants.equal(console, 1, 10, by_key=True, tokens_per_s=FAKE_TOKENS_PER_S),
    "light-fake": lambda console: tenants.light(console, 1, 10, by_key=True, tokens_per_s=FAKE_TOKENS_PER_S),
    "names": lambda console: many_names.many_names(console, 3, 12.0),
    "repeated": lambda console: repeated.repeated(console, 3),
    "front": lambda console: front.front(console, 5),
    "pool": lambda console: pools.throughput(console, 3),
    "spread": lambda console: spread.throughput(console, 2_000),
    "memory": memory.memory,
    "annealer-memory": annealer_memory.annealer_memory,
    "sweep": lambda console: sweep.sweep(console, 1, 2_000),
    "repeats": lambda console: repeats.repeats(console, 5),
    "endurance": lambda console: endurance.endurance(console, 600),
}
SHORT = ["http", "stock", "eight", "equal", "light", "repeated", "memory"]


def main(
    names: Annotated[
        list[str] | None, typer.Argument(help=f"Of {', '.join(MEASURES)}. [default: {' '.join(SHORT)}]")
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Where the figures go.")] = Path("bench.json"),
) -> None:
    measure(Terminal(), [MEASURES[name] for name in names or SHORT], out, lambda: machine().model_dump())


def measure(console: Console, measures: Iterable[Measure], out: Path, on_what: Callable[[], Mapping[str, Any]]) -> None:
    """One after the other, each one's figures into `out` as soon as it is done."""
    check_figures(out)
    for one in measures:
        figures = asyncio.run(one(console))
        rows = {figure.name: {**figure.row(), "machine": on_what()} for figure in figures}
        save_figures(out, scorer={**read_figures(out).get("scorer", {}), **rows})
        _print(console, figures)


def _print(console: Console, figures: list[Figure]) -> None:
    table = Table()
    for title in ("what", "bound", "measured", "lowest-highest", "met"):
        table.add_column(title)
    for figure in figures:
        spread = f"{min(figure.values):.3g}-{max(figure.values):.3g}"
        measured = f"{figure.measured:.3g} {figure.unit}"
        table.add_row(figure.what, figure.bound, measured, spread, "yes" if figure.is_met else "NO")
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
