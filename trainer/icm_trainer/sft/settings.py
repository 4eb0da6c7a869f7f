"""The settings of a fine-tuning, and presets of them."""

from __future__ import annotations

from typing import Literal, NamedTuple

from pydantic import Field

from icm_annealer.runs.schema.base import Record
from icm_annealer.searches.settings import MAX_SEED
from icm_client.contract.errors import RequestError
from icm_trainer.models.device import DeviceName, available_threads


class Preset(NamedTuple):
    """Values for one kind of machine, or of one paper."""

    help: str
    lora_rate: float
    full_rate: float
    epochs: float
    batch: int
    micro_batch: int
    max_tokens: int


PRESETS = {
    "cpu": Preset("measured on SmolLM2 with two cores", 1e-3, 3e-5, 3, 16, 16, 1024),
    "gpu": Preset("usual for models of billions of parameters", 2e-4, 1e-5, 3, 16, 8, 4096),
    "paper": Preset("the learning rates and epochs of Wen et al.", 5e-5, 1e-5, 3, 16, 8, 4096),
}
MIN_HELD_OUT = 8
"""With fewer held-out rows their agreement says nothing, so none are held out."""


class TrainingSettings(Record):
    """What every training has: how weights are trained, whatever they learn."""

    preset: str
    device: DeviceName
    full: bool = False
    """Whether all weights are trained, and not an adapter."""
    rank: int = Field(default=16, ge=1)
    alpha: int = Field(default=32, ge=1)
    """LoRA's: the adapter's product is scaled by alpha / rank."""
    rate: float = Field(gt=0, le=1)
    """The first learning rate; it falls linearly to 0."""
    batch: int = Field(ge=1, le=65_536)
    """Rows a step."""
    micro_batch: int = Field(ge=1)
    """Rows computed at a time."""
    threads: int = Field(ge=1)
    seed: int = Field(default=0, ge=0, le=MAX_SEED)

    @property
    def method(self) -> Literal["full", "LoRA"]:
        return "full" if self.full else "LoRA"

    @property
    def base_dtype(self) -> str:
        """The type of the base model's weights while it is trained."""
        return "bfloat16" if self.device == "cuda" and not self.full else "float32"


class SftSettings(TrainingSettings):
    """Everything that determines the weights, besides the base model and the labelled examples."""

    epochs: float = Field(gt=0, le=1000)
    held_out: float = Field(default=0.1, ge=0, le=0.5)
    """The share of the labels given that are not learnt from, and tell when to stop."""
    class_weights: bool = False
    """Whether the rows of every label together count the same."""
    max_tokens: int = Field(ge=2)
    """Of a text with its label."""
    cut: bool = False
    """Whether longer texts lose their beginning; else they are refused."""

    @classmethod
    def of(
        cls,
        device: DeviceName,
        preset: str | None = None,
        *,
        full: bool = False,
        rank: int = 16,
        rate: float | None = None,
        epochs: float | None = None,
        batch: int | None = None,
        held_out: float = 0.1,
        class_weights: bool = False,
        max_tokens: int | None = None,
        cut: bool = False,
        threads: int | None = None,
        seed: int = 0,
    ) -> SftSettings:
        """A preset's settings, but for those that are given; `preset` is by default that of the device. Raises
        RequestError for an unknown preset."""
        name = preset or ("gpu" if device == "cuda" else "cpu")
        if name not in PRESETS:
            raise RequestError(f"no preset {name!r}: choose one of {', '.join(PRESETS)}")
        chosen = PRESETS[name]
        return cls(
            preset=name,
            device=device,
            full=full,
            rank=rank,
            alpha=2 * rank,
            rate=(chosen.full_rate if full else chosen.lora_rate) if rate is None else rate,
            epochs=epochs or chosen.epochs,
            batch=batch or chosen.batch,
            micro_batch=min(chosen.micro_batch, batch or chosen.batch),
            held_out=held_out,
            class_weights=class_weights,
            max_tokens=max_tokens or chosen.max_tokens,
            cut=cut,
            threads=threads or available_threads(),
            seed=seed,
        )


def presets_help() -> str:
    """One line for `--help`."""
    return "; ".join(
        f"{name}: {one.help} (LoRA {one.lora_rate:g}, full {one.full_rate:g}, {one.epochs:g} epochs, "
        f"batches of {one.batch})"
        for name, one in PRESETS.items()
    )
