"""A model that takes hardly any time even of long contexts: the engine of a large GPU, as far as others wait for it.

`tiny-random` has two layers of two heads, and a pass over 256 shots of 60 tokens keeps two cores busy for ten seconds
with their attention alone.
"""

from __future__ import annotations

from pathlib import Path


def make_fast_model(source: Path, folder: Path) -> Path:
    """Writes a Llama of one narrow layer and one head, with random weights and the source's tokenizer and window."""
    import torch
    from transformers import AutoConfig, AutoTokenizer, LlamaForCausalLM

    config = AutoConfig.from_pretrained(source)
    config.update(
        {
            "hidden_size": 32,
            "intermediate_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 1,
            "num_key_value_heads": 1,
            "head_dim": 32,
        }
    )
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:1]
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(source).save_pretrained(folder)
    return folder
