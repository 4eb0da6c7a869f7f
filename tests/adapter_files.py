"""LoRA adapters of the fake engine's model, as files; and files that only look like adapters."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from icm_client.contract.adapters import CONFIG_FILE, WEIGHTS_FILE
from icm_server.adapters.check import PREFIX
from icm_server.engines.fake_adapters import BASE, WIDTH

Weights = dict[str, NDArray[np.float32]]
PLACE = "model.layers.0.self_attn.q_proj"


def weights(seed: int = 0, rank: int = 2, modules: Sequence[str] = ()) -> Weights:
    """Random weights by tensor name, by default of every layer."""
    rng = np.random.default_rng(seed)
    found: Weights = {}
    for module in modules or [name.removesuffix(".weight") for name in BASE]:
        found[f"{PREFIX}{module}.lora_A.weight"] = rng.normal(size=(rank, WIDTH)).astype("<f4")
        found[f"{PREFIX}{module}.lora_B.weight"] = rng.normal(size=(WIDTH, rank)).astype("<f4")
    return found


def safetensors(tensors: Mapping[str, NDArray[np.float32]], **metadata: str) -> bytes:
    """A file of these tensors."""
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    end, pieces = 0, []
    for name, values in tensors.items():
        piece = values.tobytes()
        header[name] = {"dtype": "F32", "shape": list(values.shape), "data_offsets": [end, end + len(piece)]}
        end += len(piece)
        pieces.append(piece)
    return with_header(json.dumps(header).encode(), b"".join(pieces))


def with_header(header: bytes, content: bytes = b"") -> bytes:
    """A file with any header."""
    return len(header).to_bytes(8, "little") + header + content


def config(rank: int = 2, **fields: Any) -> dict[str, Any]:
    """What peft writes, with other fields."""
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": "fake",
        "r": rank,
        "lora_alpha": 2 * rank,
        "lora_dropout": 0.05,
        "target_modules": ["q_proj", "v_proj", "down_proj"],
        "bias": "none",
        "modules_to_save": None,
        "use_dora": False,
        **fields,
    }


def save_adapter(folder: Path, seed: int = 0, rank: int = 2, **fields: Any) -> Path:
    """An adapter that the fake engine takes, or one that `fields` of its configuration spoil."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG_FILE).write_text(json.dumps(config(rank, **fields)))
    (folder / WEIGHTS_FILE).write_bytes(safetensors(weights(seed, rank)))
    return folder
