"""What only a GPU can show of the scorer, measured: `python -m tests.gpu [NAME...]`, into gpu.json.

For one GPU of 80 GB with nothing else on it. Each takes two to three minutes, most of it the engines' start.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from tests.bench.__main__ import Measure, print_figures
from tests.gpu import measures

from icm_annealer.figures import machine, read_figures, save_figures

MEASURES: dict[str, Measure] = {
    "peak": measures.peak,
    "llama-1b": lambda console: measures.scoring(console, "llama-1b", 5, with_stock=True),
    "llama-8b": lambda console: measures.scoring(console, "llama-8b", 3),
}


def main(
    names: Annotated[list[str] | None, typer.Argument(help=f"Of {', '.join(MEASURES)}. [default: all]")] = None,
    out: Annotated[Path, typer.Option("--out", help="Where the figures go.")] = Path("gpu.json"),
) -> None:
    console = Console(width=150)
    for name in names or MEASURES:
        figures = asyncio.run(MEASURES[name](console))
        rows = {figure.name: {**figure.row(), "machine": {**machine(), **_gpu()}} for figure in figures}
        save_figures(out, scorer={**read_figures(out).get("scorer", {}), **rows})
        print_figures(console, figures)


def _gpu() -> dict[str, Any]:
    import torch
    import vllm

    return {"gpu": torch.cuda.get_device_name(), "torch": torch.__version__, "vllm": vllm.__version__}


if __name__ == "__main__":
    typer.run(main)
