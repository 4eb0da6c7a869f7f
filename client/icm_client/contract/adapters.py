"""Adapters on the wire, as data. No behaviour beyond checking shapes.

`PUT /v1/adapters/NAME` takes the two files of a peft adapter as `multipart/form-data`, each as a part of the file's
name, or an `AdapterFolder` as JSON, and returns an `AdapterInfo`. `DELETE` of the same path returns the last
`AdapterInfo`; `GET /v1/adapters` returns an `AdapterList`.
"""

from __future__ import annotations

import hashlib
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from icm_client.contract.errors import RequestError
from icm_client.contract.wire import MAX_ADAPTERS, Count, ModelInfo, Name

CONFIG_FILE, WEIGHTS_FILE = "adapter_config.json", "adapter_model.safetensors"
"""The files of an adapter, as peft names them."""
ADAPTER_NAME, MAX_ADAPTER_NAME = r"^\w[\w.:@+-]*$", 100
"""The names that an adapter may be put under, and their most characters."""

AdapterName = Annotated[str, Field(pattern=ADAPTER_NAME, max_length=MAX_ADAPTER_NAME)]


class _Wire(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class AdapterFolder(_Wire):
    """An adapter that the scorer reads from its own disk."""

    folder: str = Field(min_length=1, max_length=4096)
    """A path below the folder that the scorer was started with (`--adapter-dir`)."""


class AdapterInfo(_Wire):
    """One adapter that a key may use."""

    name: Name
    """The `model` of a ScoreRequest."""
    digest: Name
    """SHA-256 of its content. Answers by two adapters agree if their digests do."""
    rank: Count
    """The largest of its layers."""
    num_modules: Count
    """The layers that it changes."""
    num_bytes: Count
    shared: bool
    """It is for all keys, not only for the one that put it."""
    fixed: bool
    """The scorer was started with it: it can be neither replaced nor deleted."""
    reads: Count
    """The engine's reads with it since the scorer was started, or since it was put."""


class AdapterList(_Wire):
    """The adapters that a key may use."""

    adapters: list[AdapterInfo] = Field(max_length=MAX_ADAPTERS)
    """In the order of their names."""
    takes_more: bool
    """Adapters can be put: the scorer was started with `--adapter-store`."""
    max_rank: Count
    """The highest rank that it takes; 0 if it takes none."""


def model_named(info: ModelInfo, model: str) -> ModelInfo:
    """The model that answers a request for `base` or an adapter; its digest is that of both together.

    Raises RequestError if there is no such adapter.
    """
    if model == "base":
        return info
    if model not in info.adapters:
        raise RequestError(
            f"no model {model!r}: the scorer serves {', '.join(['base', *info.adapters])}", code="unknown_model"
        )
    return with_adapter(info, info.adapters[model])


def with_adapter(info: ModelInfo, digest: str) -> ModelInfo:
    """The model with the adapter of this digest."""
    both = hashlib.sha256(f"{info.digest} {digest}".encode()).hexdigest()
    return info.model_copy(update={"digest": both})
