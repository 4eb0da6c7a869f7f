"""Models to folders and back, as transformers and vLLM read them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from icm_lab.family import WINDOW
from icm_lab.vocabulary import save_tokenizer


def save_model(model: Any, folder: Path) -> None:
    """Weights (bfloat16, rounded), configuration and tokenizer."""
    import torch

    model.to(torch.bfloat16).save_pretrained(folder)
    save_tokenizer(folder, WINDOW)


def load_model(folder: Path) -> Any:
    """The model in float32, as a scorer on a CPU reads it."""
    import torch
    from transformers import LlamaForCausalLM

    return LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
