"""The header of a safetensors file: which tensors it holds, and where. A leaf.

A file is eight bytes with the header's length, a JSON object, and the tensors' bytes. It is data: reading it runs no
code, unlike a pickle (`.bin`, `.pt`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from icm_client.contract.errors import RequestError

MAX_HEADER_BYTES = 2**22
"""The longest header of an adapter; that of a model with 80 layers has 200 KB."""
MAX_BASE_HEADER_BYTES = 10**8
"""The longest header of a base model's file, as in the safetensors library."""
_LENGTH_BYTES = 8
_METADATA = "__metadata__"


class Tensor(NamedTuple):
    """One tensor of a file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    """Its first byte in the file."""
    stop: int


def read_header(file: BinaryIO, max_bytes: int = MAX_HEADER_BYTES) -> dict[str, Tensor]:
    """The tensors of an open file by name. Raises RequestError unless they fill the file without gaps and overlaps."""
    size = file.seek(0, 2)
    file.seek(0)
    length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
    if size < _LENGTH_BYTES or length > size - _LENGTH_BYTES:
        raise _bad("it is not a safetensors file, or is cut off")
    if length > max_bytes:
        raise _bad(f"its header has {length} bytes; the limit is {max_bytes}")
    try:
        header = json.loads(file.read(length).decode(), object_pairs_hook=unique_names)
    except (ValueError, RecursionError):
        raise _bad("its header is not JSON") from None
    if not isinstance(header, dict):
        raise _bad("its header is not a JSON object")
    begin = _LENGTH_BYTES + length
    tensors = {name: _tensor(name, entry, begin) for name, entry in header.items() if name != _METADATA}
    end = begin
    for tensor in sorted(tensors.values(), key=lambda tensor: (tensor.start, tensor.stop)):
        if tensor.start != end:
            raise _bad("its tensors overlap, or have gaps between them")
        end = tensor.stop
    if end != size:
        raise _bad(f"its header describes {end} bytes, and it has {size}")
    return tensors


def shapes_of(folder: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of a model's tensors by name, from all safetensors files in its folder; empty if it has none."""
    shapes: dict[str, tuple[int, ...]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            shapes |= {name: tensor.shape for name, tensor in read_header(file, MAX_BASE_HEADER_BYTES).items()}
    return shapes


def unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of these pairs. Raises ValueError for a name that occurs twice: two readers might take different
    ones."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _tensor(name: str, entry: Any, begin: int) -> Tensor:
    match entry:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [int(start), int(stop)]} if len(entry) == 3:
            if all(type(side) is int and side >= 0 for side in shape) and 0 <= start <= stop:
                return Tensor(dtype, tuple(shape), begin + start, begin + stop)
    raise _bad(f"the entry of {name[:200]!r} in its header is not valid")


def num_values(shape: tuple[int, ...]) -> int:
    """The number of values of a tensor of this shape."""
    return math.prod(shape)


def _bad(reason: str) -> RequestError:
    return RequestError(f"adapter_model.safetensors cannot be used: {reason}", code="bad_adapter")


Shapes = Mapping[str, tuple[int, ...]]
"""The shapes of a model's tensors by name."""
