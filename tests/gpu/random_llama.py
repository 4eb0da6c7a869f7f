"""Llamas of real sizes with random weights: what scoring costs does not depend on what the weights say."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.programs import model_folder

WINDOW = 32_768


@dataclass(frozen=True)
class Shape:
    """Of a Llama 3; a dtype of two bytes."""

    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    cache_bytes: int
    """What one engine's KV cache gets, so that two or three engines share a GPU of 80 GB."""
    vocabulary: int = 128_256

    @property
    def num_weights(self) -> int:
        """Of the layers' matrices: without embeddings and head, which hardly count when only prompts are read."""
        head = self.hidden // self.heads
        attention = self.hidden * head * (2 * self.heads + 2 * self.kv_heads)
        return self.layers * (attention + 3 * self.hidden * self.intermediate)

    def engine_arguments(self) -> dict[str, Any]:
        """With the cache's size given, vLLM does not measure free memory, and several engines can start at once."""
        return {"load_format": "dummy", "kv_cache_memory_bytes": self.cache_bytes, "gpu_memory_utilization": 0.2}


SHAPES = {
    "llama-1b": Shape(2048, 8192, 16, 32, 8, 12 * 2**30),
    "llama-8b": Shape(4096, 14_336, 32, 32, 8, 16 * 2**30),
}


def save_random_llama(shape: Shape, folder: Path) -> Path:
    """Writes a configuration, and SmolLM2's tokenizer; vLLM makes the weights up (`load_format=dummy`)."""
    from transformers import AutoTokenizer, LlamaConfig

    AutoTokenizer.from_pretrained(model_folder("smollm2-135m")).save_pretrained(folder)
    LlamaConfig(
        architectures=["LlamaForCausalLM"],
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=WINDOW,
        bos_token_id=0,
        eos_token_id=0,
        tie_word_embeddings=False,
    ).save_pretrained(folder)
    return folder
