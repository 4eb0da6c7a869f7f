"""The Llamas that a GPU is measured with: what their products cost is counted from their shape."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.gpu.random_llama import SHAPES, WINDOW, save_random_llama


@pytest.mark.parametrize(("name", "billions"), [("llama-1b", 1.5), ("llama-8b", 8.0)])
def test_the_weights_counted_are_those_of_the_layers(tmp_path: Path, name: str, billions: float) -> None:
    import torch
    from transformers import AutoConfig, AutoTokenizer, LlamaForCausalLM

    folder = save_random_llama(SHAPES[name], tmp_path)
    config = AutoConfig.from_pretrained(folder)
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    matrices = [weights.numel() for weights in model.model.layers.parameters() if weights.ndim == 2]
    assert sum(matrices) == SHAPES[name].num_weights
    # Head and embeddings apart, as in the 8B; the real 1B shares them.
    assert sum(weights.numel() for weights in model.parameters()) / 1e9 == pytest.approx(billions, rel=0.01)
    assert config.max_position_embeddings == WINDOW
    assert len(AutoTokenizer.from_pretrained(folder)) <= config.vocab_size
