"""The three sizes of the laboratory's models, all of Llama's architecture, and their folders. A leaf."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

WINDOW = 1024
"""Tokens; documents of up to 128 shots (511 tokens) are trained on."""
HEAD_WIDTH = 32
"""The smallest head width that vLLM's attention supports on CPUs."""


@dataclass(frozen=True)
class ModelSize:
    """One model of the family."""

    name: str
    num_layers: int
    width: int
    num_heads: int


SIZES = {
    size.name: size
    for size in (ModelSize("small", 2, 32, 1), ModelSize("medium", 4, 48, 2), ModelSize("large", 4, 128, 4))
}


def weights(size: str) -> Path:
    """The folder of a shipped model, which icm-server serves as lab-small, lab-medium or lab-large."""
    return Path(__file__).parent / "models" / size
