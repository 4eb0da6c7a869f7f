"""Llama models of the family's sizes, created and run with transformers."""

from __future__ import annotations

from typing import Any

import numpy as np

from icm_lab.corpus import Documents, label_positions
from icm_lab.family import HEAD_WIDTH, WINDOW, ModelSize
from icm_lab.vocabulary import END, FALSE, TRUE, token_ids, tokens


def new_model(size: ModelSize) -> Any:
    """A LlamaForCausalLM with random weights, from torch's global generator."""
    from transformers import LlamaConfig, LlamaForCausalLM

    end = token_ids()[END]
    config = LlamaConfig(
        vocab_size=len(tokens()),
        hidden_size=size.width,
        intermediate_size=size.width * 8 // 3 // 8 * 8,
        num_hidden_layers=size.num_layers,
        num_attention_heads=size.num_heads,
        num_key_value_heads=size.num_heads,
        head_dim=HEAD_WIDTH,
        max_position_embeddings=WINDOW,
        tie_word_embeddings=True,
        bos_token_id=end,
        eos_token_id=end,
        attn_implementation="sdpa",
    )
    return LlamaForCausalLM(config)


def label_logits(model: Any, documents: Documents) -> Any:
    """Logits [document, shot, token] at the positions of the labels."""
    import torch

    ids = torch.from_numpy(documents.ids)
    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state
    positions = torch.from_numpy(label_positions(documents.labels.shape[1]) - 1)
    return model.lm_head(hidden[:, positions])


def answers(model: Any, documents: Documents) -> np.ndarray:
    """log p(True) - log p(False) of each label, given all shots before it: [document, shot]."""
    import torch

    with torch.inference_mode():
        logits = label_logits(model, documents)
    ids = token_ids()
    return np.asarray((logits[..., ids[TRUE]] - logits[..., ids[FALSE]]).numpy())
