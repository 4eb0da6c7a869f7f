"""Tokenizers trained on the spot and a tiny language model with random weights: real enough for exactness tests."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

ANIMALS = ["salmon", "spider", "Ada", "Bob"]
THINGS = ["hammer", "table", "naïve", "café", "größer", "東京", "it's", "don't", "12", "123", "2024", "ok", "(", ")"]
WORDS = [*ANIMALS, *THINGS, "Word", "Group", "Name", "Gender", "male", "female", "claim", "is", "the", ".", ",", "!"]

LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)


def corpus(num_lines: int = 2000) -> list[str]:
    """Lines of template text and random words, the same every time."""
    rng = random.Random(0)
    lines = []
    for _ in range(num_lines):
        word, group = rng.choice(WORDS), rng.choice(["living", "object", "male", "female"])
        lines.append(f"Word: {word}\nGroup: {group}\n\nWord: {' '.join(rng.choices(WORDS, k=4))}\n\n")
    return lines


def of_transformers(tokenizer: Tokenizer, **settings: Any) -> Any:
    """The tokenizer as transformers wraps it, which is imported only here: that takes seconds."""
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **settings)


def gpt2_style() -> Tokenizer:
    """Byte-level BPE with GPT-2's splitting."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return _trained_bpe(tokenizer)


def llama3_style() -> Tokenizer:
    """Byte-level BPE with Llama 3's splitting, and a BOS token in front of every prompt."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(LLAMA3_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trained = _trained_bpe(tokenizer)
    trained.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return trained


def metaspace_style() -> Tokenizer:
    """Unigram over words that start with a mark, as T5 and Gemma-like tokenizers have it."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=True)
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=300, special_tokens=["<s>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    return tokenizer


def llama2_style() -> Tokenizer:
    """BPE with byte fallback over the whole text: no words, so no boundary is ever safe."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")  # for training: no merges over words
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=["<s>", "</s>", "<unk>"], show_progress=False)
    tokenizer.train_from_iterator(corpus(), trainer)
    tokenizer.pre_tokenizer = None
    return tokenizer


def wordpiece_style() -> Tokenizer:
    """BERT's: lower case, accents stripped, white space lost."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=400, special_tokens=["<s>", "</s>", "<unk>"], show_progress=False)
    tokenizer.train_from_iterator(corpus(), trainer)
    return tokenizer


STYLES = {
    "gpt2": gpt2_style,
    "llama3": llama3_style,
    "metaspace": metaspace_style,
    "llama2": llama2_style,
    "wordpiece": wordpiece_style,
}
QUICK_STYLES = ("gpt2", "llama2")
"""One with safe boundaries between texts, and one without any."""
EACH_STYLE = [pytest.param(style, marks=[] if style in QUICK_STYLES else pytest.mark.slow) for style in STYLES]
"""Every style as a parameter of a test that takes long."""


def save_tiny_llama(folder: Path) -> Path:
    """A Llama of two layers and width 64 with random weights, in float32, with `llama3_style` as its tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=llama3_style(), bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    tokenizer.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=1024,
        initializer_range=0.2,  # large enough that the answers differ clearly from prompt to prompt
        bos_token_id=0,
        eos_token_id=1,
        tie_word_embeddings=False,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def save_tiny_lora(model: Path, folder: Path) -> Path:
    """A LoRA adapter of `save_tiny_llama`'s model that changes its answers clearly."""
    import json

    import torch
    from safetensors.torch import save_file

    targets = {"q_proj": (64, 128), "v_proj": (64, 64)}
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": str(model),
        "r": 4,
        "lora_alpha": 8,
        "target_modules": list(targets),
        "bias": "none",
    }
    torch.manual_seed(1)
    weights = {}
    for layer in range(2):
        for target, (width_in, width_out) in targets.items():
            place = f"base_model.model.model.layers.{layer}.self_attn.{target}"
            weights[f"{place}.lora_A.weight"] = 0.2 * torch.randn(4, width_in)
            weights[f"{place}.lora_B.weight"] = 0.2 * torch.randn(width_out, 4)
    folder.mkdir()
    save_file(weights, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def _trained_bpe(tokenizer: Tokenizer) -> Tokenizer:
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<s>", "</s>", "<unk>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    return tokenizer
