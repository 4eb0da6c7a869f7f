"""Options that every training has."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from icm_annealer.cli.shared.options import finite
from icm_annealer.scorers.registry import DEFAULT_MODEL
from icm_client.contract.errors import RequestError
from icm_server.engines.model_store import Progress
from icm_trainer.models.base_model import BaseModel
from icm_trainer.sft.record import MERGED
from icm_trainer.sft.settings import presets_help
from icm_trainer.sft.sources import LabelOptions, run_of

OutOption = Annotated[Path, typer.Option("--out", help="The folder for the model.")]
TaskOption = Annotated[
    str | None, typer.Option("--task", help="The labels' task: a built-in one or a task file. A run has its own.")
]
DataOption = Annotated[
    str | None, typer.Option("--data", help="The task's rows: for labels by id, and for a run's gold labels.")
]
FromGoldOption = Annotated[bool, typer.Option("--from-gold", help="Learn the gold labels of these rows.")]
FieldOption = Annotated[
    str | None, typer.Option("--field", help="Learn the labels that people wrote into this field of the rows.")
]
ExamplesOption = Annotated[int | None, typer.Option(min=2, help="Learn only the first N labels.")]
AbstainOption = Annotated[
    float | None, typer.Option(metavar="P", min=0.0, max=1.0, help="Leave out labels whose certainty is below P.")
]
MinMarginOption = Annotated[
    float | None,
    typer.Option(
        metavar="NATS",
        min=0.0,
        callback=finite,
        help="Leave out labels that score less than this above the next best one.",
    ),
]
BaseOption = Annotated[
    str | None,
    typer.Option(
        "--base",
        help="The model to tune: a packaged one, a folder, or a hub id.",
        show_default=f"the run's model, else {DEFAULT_MODEL}",
    ),
]
PresetOption = Annotated[
    str | None, typer.Option(metavar="NAME", help=f"{presets_help()}.", show_default="cpu or gpu, as the device is")
]
FullOption = Annotated[bool, typer.Option("--full", help="Train all weights, and not a LoRA adapter.")]
RankOption = Annotated[int, typer.Option(min=1, help="LoRA's rank; alpha is twice as high.")]
RateOption = Annotated[float | None, typer.Option(min=1e-9, max=1.0, callback=finite, help="The learning rate.")]
EpochsOption = Annotated[float | None, typer.Option(min=0.01, max=1000, callback=finite)]
BatchOption = Annotated[int | None, typer.Option(min=1, max=65_536, help="Rows a step.")]
HeldOutOption = Annotated[
    float,
    typer.Option(
        min=0.0,
        max=0.5,
        callback=finite,
        help="The share of what is given that is not learnt from, but tells when to stop; none if this is fewer than "
        "8 rows.",
    ),
]
MaxTokensOption = Annotated[int | None, typer.Option(min=2, help="The longest text with its label.")]
CutOption = Annotated[
    bool, typer.Option("--cut", help="Take off the beginning of longer texts, instead of refusing them.")
]
SeedOption = Annotated[int, typer.Option(min=0, help="Determines everything random.")]
ThreadsOption = Annotated[int | None, typer.Option(min=1, help="On a CPU.", show_default="all cores")]
MergeOption = Annotated[bool, typer.Option("--merge", help=f"Also merge the adapter into the model, in OUT/{MERGED}.")]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Continue the training in --out.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace the model in --out.")]


def base_model(name: str | None, options: LabelOptions, cache: Path, say: Progress) -> BaseModel:
    """The model to tune: the one named, or else the one that found the labels. Raises RequestError."""
    record = run_of(options)
    try:
        return BaseModel.find(name or (record.header.model.name if record else DEFAULT_MODEL), cache, say)
    except RequestError as error:
        if name or not record:
            raise
        raise RequestError(
            f"{error.message}; it found the labels of {options.source}: name another by --base"
        ) from None
