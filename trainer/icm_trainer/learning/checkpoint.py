"""Checkpoints: tensors as safetensors, the rest as JSON, so reading one runs no code. Written whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field

from icm_annealer.runs.atomic_write import make_folder, write_whole
from icm_annealer.runs.schema.base import Record, Versioned, read_file
from icm_client.contract.errors import RequestError

STATE = "state.json"


class LogRow(Record):
    """A look at a training in progress."""

    step: int = Field(ge=0)
    epoch: float
    loss: float
    """Mean training loss of the steps since the last look, in nats a row; 0 before the first step."""
    held_out_loss: float | None = None
    """Mean loss of the held-out rows; None without any."""
    held_out_agreement: float | None = None
    """The share of held-out rows for which the model's answer is the one given."""
    figures: dict[str, float] = Field(default_factory=dict)
    """What else the look measured, by name."""
    samples: list[str] = Field(default_factory=list)
    """What the model wrote, where it writes."""
    by_step: list[dict[str, float]] = Field(default_factory=list)
    """What the objective measured in each step since the last look, where it measures anything."""


class CheckpointState(Versioned):
    """All of a checkpoint that is no tensor."""

    tensors: str = Field(pattern=r"^step-\d+\.safetensors$")
    step: int = Field(ge=0)
    seconds: float
    losses: list[float]
    """Of the steps since the last look."""
    by_step: list[dict[str, float]] = Field(default_factory=list)
    """What else was measured in them."""
    log: list[LogRow]
    best: int | None
    """The step of the best look."""


class Checkpoint(NamedTuple):
    """What `read` found."""

    state: CheckpointState
    tensors: dict[str, Any]


def write_checkpoint(folder: Path, state: CheckpointState, tensors: Mapping[str, Any]) -> None:
    """Replaces the checkpoint in `folder`. A process that is killed meanwhile leaves the old one or the new one."""
    from safetensors.torch import save_file

    make_folder(folder)
    write_whole(folder / state.tensors, lambda place: save_file(dict(tensors), place), code="checkpoint")
    write_whole(folder / STATE, lambda place: place.write_text(state.model_dump_json()), code="checkpoint")
    for older in folder.glob("step-*.safetensors"):
        if older.name != state.tensors:
            older.unlink()


def read_checkpoint(folder: Path) -> Checkpoint | None:
    """The checkpoint in `folder`; None if there is none. Raises RequestError for a damaged one."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    state = read_file(folder / STATE, CheckpointState)
    if state is None:
        return None
    try:
        return Checkpoint(state, load_file(folder / state.tensors))
    except (OSError, SafetensorError) as error:
        raise RequestError(
            f"{folder / state.tensors}: {error}; start again with --overwrite", code="bad_checkpoint"
        ) from None


def remove_checkpoint(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
