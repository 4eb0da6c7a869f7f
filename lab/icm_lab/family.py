"""The three sizes of the laboratory's models, all of Llama's architecture, and where they lie. A leaf."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

WINDOW = 1024
"""Tokens; documents of up to 128 shots (511 tokens) are trained on."""
NUM_LAYERS, NUM_HEADS = 4, 4


@dataclass(frozen=True)
class Size:
    """One model of the family."""

    name: str
    width: int


SIZES = {size.name: size for size in (Size("small", 48), Size("medium", 88), Size("large", 128))}


def weights(size: str) -> Path:
    """The folder of a shipped model, which icm-server serves as lab-small, lab-medium or lab-large."""
    return Path(__file__).parent / "models" / size
