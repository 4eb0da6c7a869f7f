"""Options that every training has."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from icm_annealer.cli.shared.bounds import MAX_AMOUNT, MAX_COUNT
from icm_annealer.cli.shared.options import finite
from icm_annealer.cli.shared.work_options import out_folder
from icm_annealer.scorers.registry import DEFAULT_MODEL
from icm_client.contract.errors import RequestError
from icm_server.engines.model_store import Progress
from icm_trainer.models.base_model import BaseModel
from icm_trainer.sft.record import MERGED
from icm_trainer.sft.settings import presets_help
from icm_trainer.sft.sources import LabelOptions, run_of

OutOption = Annotated[Path, out_folder("the model")]
FromGoldOption = Annotated[bool, typer.Option("--from-gold", help="Learn the gold labels of these rows.")]
FieldOption = Annotated[
    str | None, typer.Option("--field", help="Learn the labels that people wrote into this field of the rows.")
]
MinMarginOption = Annotated[
    float | None,
    typer.Option(
        metavar="NATS",
        min=0.0,
        max=MAX_AMOUNT,
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
RankOption = Annotated[int, typer.Option(min=1, max=1024, help="LoRA's rank; alpha is twice as high.")]
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
TextTokensOption = Annotated[
    int | None,
    typer.Option(min=2, max=MAX_COUNT, help="The most tokens of a text with its label.", show_default="the window"),
]
CutOption = Annotated[
    bool, typer.Option("--cut", help="Take off the beginning of longer texts, instead of refusing them.")
]
ThreadsOption = Annotated[int | None, typer.Option(min=1, max=1024, help="On a CPU.", show_default="all cores")]
MergeOption = Annotated[bool, typer.Option("--merge", help=f"Also merge the adapter into the model, in OUT/{MERGED}.")]


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
