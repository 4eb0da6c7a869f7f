"""How vLLM is configured for a machine: environment and engine arguments."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from icm_client.contract.adapters import CONFIG_FILE
from icm_client.contract.errors import RequestError
from icm_server.config import AdapterConfig

_CPU_ENVIRONMENT = {
    # Otherwise the first read takes twenty seconds to compile a helper.
    "TORCH_COMPILE_DISABLE": "1",
    # For worker processes, if there are any. "auto" reserves a core and takes twice as long on two cores; two engines
    # would bind the same cores.
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    # Waiting threads sleep: equally fast alone, and a third faster on shared cores.
    "OMP_WAIT_POLICY": "passive",
}
_GPU_ENVIRONMENT = {
    # Asking torch for a GPU initialises CUDA, and a process that is forked afterwards cannot use it.
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
}
QUIET_ENVIRONMENT = {"VLLM_LOGGING_LEVEL": "ERROR", "TQDM_DISABLE": "1", "PYTHONWARNINGS": "ignore"}
_NO_REPORTS = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}


GPU_PRESET: dict[str, Any] = {
    "max_num_seqs": 512,
    "max_num_batched_tokens": 16_384,
    "gpu_memory_utilization": 0.9,
}
CPU_PRESET: dict[str, Any] = {
    "enforce_eager": True,
    "block_size": 32,
    "kv_cache_memory_bytes": 2 * 1024**3,
    "max_num_batched_tokens": 4096,
    "max_num_seqs": 128,
}
IN_PROCESS = "vllm.v1.executor.uniproc_executor.UniProcExecutor"
"""The model runs in the engine's process. On a CPU, vLLM's default ("mp", also for "uni") adds a process for which the
engine busy-waits: on two cores a tiny model is 1.4 times as slow."""
_PRECISE = {"head_dtype": "float32"}
"""Otherwise bfloat16 logits would round log-probabilities to two digits."""
_HALF = frozenset({"float16", "half", "torch.float16", "fp16"})
LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
PUT_RANK = 16
"""The highest rank of adapters that are put at run time; memory for it is taken at the start."""
MAX_ACTIVE = 4
"""Adapters in one step of the engine. Reads with others wait for the next step."""


class AdapterSpace(NamedTuple):
    """What the engine has to have room for."""

    num_adapters: int
    max_rank: int


def has_gpu() -> bool:
    """Whether a GPU can be used."""
    import torch

    return bool(torch.cuda.is_available())


def environment(*, gpu: bool) -> dict[str, str]:
    """Environment variables for vLLM, unless the user has set them."""
    return _NO_REPORTS | (_GPU_ENVIRONMENT if gpu else _CPU_ENVIRONMENT)


def engine_arguments(
    model: Path, dtype: str | None, extra: Mapping[str, Any], adapters: AdapterSpace | None, *, gpu: bool
) -> dict[str, Any]:
    """vLLM's arguments: the preset for this machine, overridden by `extra`; `hf_overrides` are merged key by key.

    Scoring is prefill only. With cached prefixes the limit of a step is its number of sequences, not of tokens. Small
    cache blocks matter, because only whole blocks are shared and a shot is short. All adapters stay in memory: one
    that vLLM has to read again from a folder that is gone would end the engine. Raises RequestError for an argument
    that would have adapters applied in part, and for a Gemma in float16.
    """
    arguments: dict[str, Any] = {
        "model": str(model),
        "dtype": dtype or default_dtype(gpu),
        "enable_prefix_caching": True,
        # So the engine schedules its waiting reads in the fair queue's order.
        "scheduling_policy": "priority",
        "seed": 0,
        "hf_overrides": _PRECISE,
    }
    arguments |= GPU_PRESET if gpu else CPU_PRESET
    if not gpu and not any(name.endswith("_parallel_size") for name in extra):
        arguments["distributed_executor_backend"] = IN_PROCESS
    if adapters is not None:
        arguments |= {
            "enable_lora": True,
            "max_loras": min(adapters.num_adapters, MAX_ACTIVE),
            "max_cpu_loras": adapters.num_adapters,
            "max_lora_rank": adapters.max_rank,
        }
        if "lora_target_modules" in extra:
            raise RequestError("lora_target_modules would have adapters applied in part", code="engine_argument")
    arguments |= extra
    if isinstance(arguments["hf_overrides"], dict):
        arguments["hf_overrides"] = _PRECISE | arguments["hf_overrides"]
    _check_dtype(model, str(arguments["dtype"]), gpu)
    return arguments


def _check_dtype(model: Path, dtype: str, gpu: bool) -> None:
    """Raises RequestError for a Gemma in float16: its activations overflow and it answers NaN."""
    try:
        config = json.loads((model / "config.json").read_text(encoding="utf-8"))
        parts = [part for part in (config, config.get("text_config")) if isinstance(part, dict)]
    except (OSError, ValueError, AttributeError, RecursionError):
        return  # vLLM reports the error
    named = [str(part.get(name)) for part in parts for name in ("dtype", "torch_dtype")]
    is_half = dtype.lower() in _HALF or (
        dtype == "auto" and (default_dtype(gpu) == "float16" or not _HALF.isdisjoint(named))
    )
    kinds = [kind for kind in (str(part.get("model_type")) for part in parts) if "gemma" in kind.lower()]
    if is_half and kinds:
        raise RequestError(
            f"models of type {kinds[0]} overflow in float16: use --dtype bfloat16, or float32 on a GPU without "
            "bfloat16",
            code="bad_dtype",
        )


def adapter_space(config: AdapterConfig) -> AdapterSpace | None:
    """Room for all adapters that there may be, with the smallest rank that vLLM supports and that is enough; None if
    there are none. Raises RequestError for a folder that is no adapter."""
    if not config.given and config.store is None:
        return None
    ranks = [_rank(name, folder) for name, folder in config.given.items()]
    ranks += [PUT_RANK] if config.store is not None else []
    rank = min((rank for rank in LORA_RANKS if rank >= max(ranks)), default=max(ranks))
    num_put = config.limits.max_adapters if config.store is not None else 0
    return AdapterSpace(len(config.given) + num_put, rank)


def _rank(name: str, folder: str) -> int:
    """The highest rank in an adapter's configuration."""
    try:
        fields = json.loads(Path(folder, CONFIG_FILE).expanduser().read_text(encoding="utf-8"))
        return max(int(rank) for rank in (fields["r"], *(fields.get("rank_pattern") or {}).values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise RequestError(
            f"adapter {name!r}: {folder} is not a LoRA adapter (no {CONFIG_FILE} with its rank)", code="bad_adapter"
        ) from None


def default_dtype(gpu: bool) -> str:
    """bfloat16 if the hardware supports it, otherwise float16 on a GPU (before Ampere) and float32 on a CPU."""
    if gpu:
        import torch

        return "bfloat16" if torch.cuda.get_device_capability() >= (8, 0) else "float16"
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return "float32"
    return "bfloat16" if "avx512_bf16" in flags or "amx_bf16" in flags else "float32"
