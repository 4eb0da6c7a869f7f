"""Whether an adapter's files fit a base model completely. An adapter that an engine would apply in part is refused."""

from __future__ import annotations

import hashlib
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from icm_client.contract.adapters import CONFIG_FILE, WEIGHTS_FILE
from icm_client.contract.errors import RequestError
from icm_server.adapters.peft_config import MAX_CONFIG_BYTES, PeftConfig, read_config
from icm_server.adapters.weights_file import Shapes, Tensor, num_values, read_header

MAX_TENSORS = 2**16
PREFIX = "base_model.model."
"""Begins the name of every tensor that peft saves."""
HALVES = {"lora_A": ".lora_A.weight", "lora_B": ".lora_B.weight"}
WIDTHS = {"F32": 4, "F16": 2, "BF16": 2}
"""Bytes of a value by type."""
OUTPUT_LAYER = "lm_head"
_EXPONENT = 0x7F80
"""All bits of a bfloat16's exponent, which are set in NaN and infinity."""
_CHUNK_BYTES = 2**22


class CheckedAdapter(NamedTuple):
    """What an adapter is, once it has been found to be one."""

    digest: str
    """SHA-256 of its two files."""
    rank: int
    """The largest of its modules."""
    num_modules: int
    num_bytes: int


def check_adapter(folder: Path, base: Shapes, max_rank: int) -> CheckedAdapter:
    """Reads the adapter in `folder`. Raises RequestError, saying what is wrong, unless every tensor of it belongs to a
    layer of `base`, has its shape, a rank of at most `max_rank`, and finite values. Blocking."""
    with _opened(folder / CONFIG_FILE) as config_file, _opened(folder / WEIGHTS_FILE) as weights_file:
        content = config_file.read(MAX_CONFIG_BYTES + 1)
        if len(content) > MAX_CONFIG_BYTES:
            raise _bad(f"{CONFIG_FILE} is larger than {MAX_CONFIG_BYTES} bytes")
        config = read_config(content)
        tensors = read_header(weights_file)
        pairs = _pairs(tensors)
        ranks = [_rank(module, pair, config, base) for module, pair in pairs.items()]
        if max(ranks) > max_rank:
            raise _bad(f"its rank is {max(ranks)}, and this scorer takes ranks up to {max_rank}")
        for name, tensor in tensors.items():
            _check_values(weights_file, name, tensor)
        weights_file.seek(0)
        digest = hashlib.file_digest(weights_file, "sha256").digest()
        num_bytes = len(content) + weights_file.tell()
    whole = hashlib.sha256(hashlib.sha256(content).digest() + digest).hexdigest()
    return CheckedAdapter(whole, max(ranks), len(pairs), num_bytes)


def _opened(path: Path) -> BufferedReader:
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise _bad(f"it has no {path.name}") from None


def _pairs(tensors: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Both tensors of each module. Raises RequestError for a tensor that is neither, or lacks the other."""
    if not tensors:
        raise _bad("it has no weights")
    if len(tensors) > MAX_TENSORS:
        raise _bad(f"it has {len(tensors)} tensors; the limit is {MAX_TENSORS}")
    pairs: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        half = next((half for half, ending in HALVES.items() if name.endswith(ending)), None)
        if half is None or not name.startswith(PREFIX):
            raise _bad(
                f"the tensor {_shown(name)} is no LoRA of a linear layer: fully trained modules (modules_to_save), "
                "embeddings, biases and magnitudes would not be applied"
            )
        pairs.setdefault(name.removeprefix(PREFIX).removesuffix(HALVES[half]), {})[half] = tensor
    for module, pair in pairs.items():
        for half in HALVES:
            if half not in pair:
                raise _bad(f"{_shown(module)} has no {half}")
    return pairs


def _rank(module: str, pair: dict[str, Tensor], config: PeftConfig, base: Shapes) -> int:
    """The rank of one module, whose shapes are checked."""
    if module.rpartition(".")[2] == OUTPUT_LAYER:
        raise _bad(f"it changes the output layer ({_shown(module)}), which is not supported")
    shape = base.get(f"{module}.weight")
    if shape is None and any(name.startswith(f"{module}.") for name in base):
        raise _bad(f"the base model's layer {_shown(module)} is packed (quantized): no shapes can be compared")
    if shape is None:
        raise _bad(f"the base model has no layer {_shown(module)}: it was trained on another model")
    if len(shape) != 2:
        raise _bad(f"{_shown(module)} is not a linear layer of the base model")
    rank, (num_out, num_in) = config.rank_of(module), shape
    for half, expected in (("lora_A", (rank, num_in)), ("lora_B", (num_out, rank))):
        tensor = pair[half]
        if tensor.shape != expected:
            raise _bad(
                f"{half} of {_shown(module)} has the shape {list(tensor.shape)}, and the base model and the rank "
                f"{rank} need {list(expected)}"
            )
        if tensor.dtype not in WIDTHS:
            raise _bad(f"{half} of {_shown(module)} has the type {tensor.dtype[:20]!r} instead of F32, F16 or BF16")
        if tensor.stop - tensor.start != num_values(tensor.shape) * WIDTHS[tensor.dtype]:
            raise _bad(f"{half} of {_shown(module)} does not have the size of its shape")
    return rank


def _check_values(file: BinaryIO, name: str, tensor: Tensor) -> None:
    """Raises RequestError for NaN and infinity, with which every answer would fail."""
    file.seek(tensor.start)
    for start in range(tensor.start, tensor.stop, _CHUNK_BYTES):
        piece = file.read(min(_CHUNK_BYTES, tensor.stop - start))
        if tensor.dtype == "BF16":
            is_finite = bool(((np.frombuffer(piece, "<u2") & _EXPONENT) != _EXPONENT).all())
        else:
            is_finite = bool(np.isfinite(np.frombuffer(piece, "<f4" if tensor.dtype == "F32" else "<f2")).all())
        if not is_finite:
            raise _bad(f"the tensor {_shown(name)} has values that are not finite numbers")


def _shown(name: str) -> str:
    return repr(name[:200])


def _bad(reason: str) -> RequestError:
    return RequestError(f"the adapter cannot be used: {reason}", code="bad_adapter")
