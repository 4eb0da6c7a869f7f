"""The model that is tuned: where it lies, its window, its linear layers. Read before any weights are loaded."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from icm_client.contract.errors import RequestError
from icm_server.engines.base import TextTokenizer
from icm_server.engines.model_store import Progress, model_digest, resolve

ADAPTER_CONFIG = "adapter_config.json"
DIGEST_OF = "files"
"""The digest is of the files alone; a scorer's also holds the version of its engine."""


class Sizes(NamedTuple):
    """Numbers of parameters."""

    all: int
    linear: list[tuple[int, int]]
    """Inputs and outputs of each linear layer that LoRA adapts."""


@dataclass(frozen=True)
class BaseModel:
    """A model's folder. Create it with `find`."""

    name: str
    """A packaged model, a hub id, or the folder."""
    folder: Path
    digest: str

    @classmethod
    def find(cls, name: str, cache: Path, say: Progress) -> BaseModel:
        """The model of this name, converted into `cache` or downloaded if necessary. Raises RequestError."""
        folder = Path(resolve(name, cache.expanduser(), say))
        if (folder / ADAPTER_CONFIG).is_file():
            raise RequestError(
                f"{name} holds an adapter and no base model: name its base, or merge it first "
                f"(icm train merge {name}) and name the folder that this prints",
                code="bad_base",
            )
        is_place = Path(name).expanduser().is_dir()
        return cls(str(folder) if is_place else name, folder, model_digest(folder, DIGEST_OF))

    @cached_property
    def config(self) -> Any:
        """transformers' configuration. Raises RequestError if the folder has none that can be read."""
        from transformers import AutoConfig

        try:
            return AutoConfig.from_pretrained(self.folder)
        except (OSError, ValueError, KeyError) as error:
            raise RequestError(f"{self.folder} is no model of transformers: {_line(error)}", code="bad_base") from None

    @property
    def window(self) -> int:
        """The longest text with its label, in tokens."""
        return int(getattr(self.config.get_text_config(), "max_position_embeddings", 2**20))

    @property
    def dtype(self) -> str:
        """The type of the weights on disk, such as `bfloat16`."""
        return str(self.config.dtype or "float32").removeprefix("torch.")

    @cached_property
    def tokenizer(self) -> TextTokenizer:
        """The tokenizer as a scorer uses it. Raises RequestError if it is missing or not a fast one."""
        from transformers import AutoTokenizer

        from icm_server.engines.hf_tokenizer import HfTokenizer

        try:
            return HfTokenizer(AutoTokenizer.from_pretrained(self.folder))
        except (OSError, ValueError) as error:
            raise RequestError(f"cannot load the tokenizer of {self.folder}: {_line(error)}") from None

    @cached_property
    def sizes(self) -> Sizes:
        """Counted on a model without weights. Raises RequestError if it is not a causal language model."""
        import torch
        from transformers import AutoModelForCausalLM
        from transformers.pytorch_utils import Conv1D

        try:
            with torch.device("meta"):
                empty = AutoModelForCausalLM.from_config(self.config)
        except ValueError as error:
            raise RequestError(f"{self.folder}: {_line(error)}", code="bad_base") from None
        head = empty.get_output_embeddings()
        linear = [
            (int(module.weight.shape[0]), int(module.weight.shape[1]))
            for module in empty.modules()
            if isinstance(module, torch.nn.Linear | Conv1D) and module is not head
        ]
        return Sizes(sum(parameter.numel() for parameter in empty.parameters()), linear)

    def load(self, dtype: str = "float32", device: str = "cpu") -> Any:
        """The model with its weights in `dtype`."""
        return load_model(self.folder, dtype, device)


def load_model(folder: Path, dtype: str = "float32", device: str = "cpu") -> Any:
    """A causal language model of transformers in evaluation mode. Raises RequestError."""
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype))
    except (OSError, ValueError, SafetensorError) as error:
        raise RequestError(f"cannot load the model in {folder}: {_line(error)}", code="bad_base") from None
    return model.to(device).eval()


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
