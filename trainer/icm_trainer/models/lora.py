"""LoRA: a new adapter on a base model, and an adapter merged into its base."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from icm_client.contract.errors import RequestError
from icm_trainer.models.base_model import BaseModel, load_model

ADAPTER_WEIGHTS = "adapter_model.safetensors"
MAX_RANK = 512
"""vLLM serves no adapter of a higher rank."""


def check_rank(base: BaseModel, rank: int) -> None:
    """Raises RequestError if `rank` is too high for the base's layers or for vLLM."""
    narrowest = min((min(shape) for shape in base.sizes.linear), default=0)
    if not narrowest:
        raise RequestError(
            f"{base.name} has no linear layers that LoRA could adapt: tune all of it (`icm train sft --full`, "
            "`icm train rm --full`), or use another model",
            code="bad_base",
        )
    if rank > min(narrowest, MAX_RANK):
        why = f"its narrowest layer has {narrowest}" if narrowest < MAX_RANK else f"vLLM serves none above {MAX_RANK}"
        raise RequestError(
            f"rank {rank} is too high for {base.name}: {why} (icm train sft, rm, rl, relabel: --rank)", code="bad_rank"
        )


def num_lora_parameters(base: BaseModel, rank: int) -> int:
    """The parameters of an adapter of all linear layers."""
    return sum(rank * (inputs + outputs) for inputs, outputs in base.sizes.linear)


def with_adapter(model: Any, rank: int, alpha: int) -> Any:
    """The model with a new adapter of all its linear layers, whose weights alone can be trained. They are drawn from
    torch's global generator, and change nothing at first."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=rank, lora_alpha=alpha, lora_dropout=0.0, bias="none", target_modules="all-linear", task_type="CAUSAL_LM"
    )
    return get_peft_model(model, config)


def check_adapter(folder: Path) -> None:
    """Raises RequestError if the folder holds no adapter's weights."""
    if not (folder / ADAPTER_WEIGHTS).is_file():
        raise RequestError(f"{folder}: there is no adapter: {ADAPTER_WEIGHTS} is missing", code="bad_adapter")


def with_saved_adapter(model: Any, folder: Path) -> Any:
    """The model with the adapter in `folder`. Raises RequestError if it does not fit, in the shape of a layer or its
    name."""
    from peft import PeftModel
    from peft.utils import load_peft_weights

    check_adapter(folder)  # peft would look for a missing one on a hub
    try:
        adapted = PeftModel.from_pretrained(model, folder)
        there = {name for name, _ in adapted.named_parameters() if "lora_" in name}
        kept = load_peft_weights(str(folder), device="cpu")
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise RequestError(
            f"{folder}: the adapter does not fit the base model: {' '.join(str(error).split())[:200]}",
            code="bad_adapter",
        ) from None
    if len(there) != len(kept):
        raise RequestError(
            f"{folder}: the adapter has weights for {len(kept)} places, of which the base model has {len(there)}: it "
            "was made for another model",
            code="bad_adapter",
        )
    return adapted.eval()


def merged_model(base: Path, adapter: Path) -> Any:
    """The base model with the adapter added to its weights, in float32. Adding to rounded weights, and not rounding the
    sum once, is wrong by nats."""
    return with_saved_adapter(load_model(base, "float32"), adapter).merge_and_unload()
