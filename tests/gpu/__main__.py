"""What only a GPU can show of the scorer, measured: `python -m tests.gpu [NAME...]`, into gpu.json.

For one GPU of 80 GB with nothing else on it. Each takes two to three minutes, most of it the engines' start.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from tests.bench.__main__ import Measure, measure
from tests.gpu import measures

from icm_annealer.benchmarks.results_file import machine
from icm_annealer.console.terminal import Terminal

MEASURES: dict[str, Measure] = {
    "peak": measures.peak,
    "llama-1b": lambda console: measures.scoring(console, "llama-1b", 5, with_stock=True),
    "llama-8b": lambda console: measures.scoring(console, "llama-8b", 3, num_examples=128),
}


def main(
    names: Annotated[list[str] | None, typer.Argument(help=f"Of {', '.join(MEASURES)}. [default: all]")] = None,
    out: Annotated[Path, typer.Option("--out", help="Where the figures go.")] = Path("gpu.json"),
) -> None:
    measure(Terminal(width=150), [MEASURES[name] for name in names or MEASURES], out, _machine)


def _machine() -> dict[str, Any]:
    import torch
    import vllm

    return {
        **machine().model_dump(),
        "gpu": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "vllm": vllm.__version__,
    }


if __name__ == "__main__":
    typer.run(main)
