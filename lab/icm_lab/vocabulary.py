"""The tokens of all worlds: a word of a claim is one token, so a shot has four, its separator included."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from icm_lab.worlds import worlds

END, UNKNOWN, SEPARATOR, TRUE, FALSE = "<end>", "<unknown>", "\n", " True", " False"
SPECIAL = [END, UNKNOWN, SEPARATOR, FALSE, TRUE]
SPLIT = r"\n| [^\n:]*:| True| False|[^\s:]+"
"""Separator, second word (to its colon), label, first word."""


@dataclass(frozen=True)
class WorldIds:
    """Token ids of a world's words: int64 [num_firsts] and [num_seconds]."""

    firsts: np.ndarray
    seconds: np.ndarray


@cache
def tokens() -> list[str]:
    """Every token by its id."""
    names = dict.fromkeys(SPECIAL)
    for world in worlds().values():
        names.update(dict.fromkeys([*world.firsts, *world.seconds]))
    return list(names)


@cache
def token_ids() -> dict[str, int]:
    return {token: number for number, token in enumerate(tokens())}


@cache
def world_ids(name: str) -> WorldIds:
    """The token ids of the words of the world `name`."""
    world, ids = worlds()[name], token_ids()
    return WorldIds(np.array([ids[word] for word in world.firsts]), np.array([ids[word] for word in world.seconds]))


def save_tokenizer(folder: Path, window: int) -> None:
    """Writes tokenizer.json and tokenizer_config.json, as transformers and vLLM read them."""
    split = {"type": "Split", "pattern": {"Regex": SPLIT}, "behavior": "Isolated", "invert": False}
    special = [
        {
            "id": token_ids()[token],
            "content": token,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for token in (END, UNKNOWN)
    ]
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": special,
        "normalizer": None,
        "pre_tokenizer": split,
        "post_processor": None,
        "decoder": {"type": "Fuse"},
        "model": {"type": "WordLevel", "vocab": token_ids(), "unk_token": UNKNOWN},
    }
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": END,
        "unk_token": UNKNOWN,
        "model_max_length": window,
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer, indent=1, ensure_ascii=False) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=1) + "\n")
