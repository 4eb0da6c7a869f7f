"""`adapter_config.json` as peft writes it: what of it changes answers, and whether vLLM applies all of that. A leaf.

vLLM reads few fields and ignores the others, so a field that is not known to be without effect has to be empty.
"""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, Literal

import pydantic
from pydantic import BaseModel, ConfigDict, Field

from icm_client.contract.errors import RequestError
from icm_client.text.validation import first_error
from icm_server.adapters.weights_file import unique_names

MAX_CONFIG_BYTES = 2**18
MAX_PATTERNS = 4096

ModulePattern = Annotated[str, Field(max_length=256, pattern=r"^\^?[\w.]+$")]
"""A module's name, or its end. In peft it may be any regular expression; one without repetitions cannot take long."""
Number = Annotated[float, Field(gt=0, le=2**20, allow_inf_nan=False)]
Rank = Annotated[int, Field(ge=1, le=2**16)]

WITHOUT_EFFECT = frozenset(
    {
        *("auto_mapping", "base_model_name_or_path", "revision", "inference_mode", "peft_version", "task_type"),
        *("exclude_modules", "layers_to_transform", "layers_pattern", "lora_dropout", "runtime_config"),
        *("loftq_config", "eva_config", "corda_config", "lora_ga_config", "qalora_group_size", "megatron_core"),
        *("ensure_weight_tying", "init_lora_weights", "target_modules"),
    }
)
"""Fields about training, or about which modules have weights, which the weights themselves say."""
PLAIN_STARTS = ("gaussian", "eva", "orthogonal", "mica", "lora_ga")
"""Values of `init_lora_weights` that leave the base model's weights as they are."""


class PeftConfig(BaseModel):
    """What changes answers."""

    model_config = ConfigDict(frozen=True, strict=True)

    peft_type: Literal["LORA"]
    task_type: Literal["CAUSAL_LM"] | None = None
    r: Rank
    lora_alpha: Number
    target_modules: list[str] | str
    use_rslora: bool = False
    rank_pattern: dict[ModulePattern, Rank] = Field(default={}, max_length=MAX_PATTERNS)
    alpha_pattern: dict[ModulePattern, Number] = Field(default={}, max_length=MAX_PATTERNS)
    init_lora_weights: bool | str | None = True

    def rank_of(self, module: str) -> int:
        """The rank of a module, by the rule of peft: the first pattern that matches the name, or its end."""
        return next(
            (rank for pattern, rank in self.rank_pattern.items() if re.match(rf"(.*\.)?({pattern})$", module)), self.r
        )


def read_config(content: bytes) -> PeftConfig:
    """Raises RequestError, naming the field, for a configuration that vLLM would apply in part, or not at all."""
    try:
        fields = json.loads(content.decode(), object_pairs_hook=unique_names)
    except (ValueError, RecursionError):
        raise _bad("it is not JSON, or a name occurs twice in it") from None
    if not isinstance(fields, dict):
        raise _bad("it is not a JSON object")
    given = {name: value for name, value in fields.items() if value is not None}
    own = {name: given.pop(name) for name in PeftConfig.model_fields if name in given}
    for name, value in given.items():
        if name not in WITHOUT_EFFECT and not _is_empty(value):
            raise _bad(f"the field {name[:100]!r} is set, and vLLM would not apply it")
    try:
        config = PeftConfig.model_validate(own)
    except pydantic.ValidationError as error:
        raise _bad(first_error(error, whole="it")) from None
    start = config.init_lora_weights
    if isinstance(start, str) and start.lower() not in PLAIN_STARTS:
        raise _bad(
            f"init_lora_weights is {start[:40]!r}, which changes the base model's weights: convert the adapter "
            "(path_initial_model_for_weight_conversion in peft)"
        )
    return config


def _is_empty(value: Any) -> bool:
    return value in (False, "none", "", [], {})


def _bad(reason: str) -> RequestError:
    return RequestError(f"adapter_config.json cannot be used: {reason}", code="bad_adapter")
