"""The real engine. The only module that imports vLLM, and only once an engine is wanted."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from icm_client.errors import RequestError, ScorerError
from icm_client.wire import ModelInfo
from icm_server.engines.base import Encoded, EngineDiedError, ReadAnswer

CPU_ENVIRONMENT = {
    # Without it the first read takes twenty seconds: a helper is compiled.
    "TORCH_COMPILE_DISABLE": "1",
    # Two engines on one machine would both bind the first core.
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
}
QUIET_ENVIRONMENT = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "VLLM_LOGGING_LEVEL": "ERROR"}


def has_gpu() -> bool:
    """True where a GPU can be used."""
    import torch

    return bool(torch.cuda.is_available())


def engine_arguments(model: Path, dtype: str, extra: Mapping[str, Any], gpu: bool) -> dict[str, Any]:
    """vLLM's arguments: our preset for this machine, overridden by `extra`.

    Scoring is prefill alone: with cached prefixes the number of sequences in a step binds, not their tokens. Small
    cache blocks matter, since only whole blocks are shared and a shot is short.
    """
    common: dict[str, Any] = {
        "model": str(model),
        "dtype": dtype,
        "enable_prefix_caching": True,
        "disable_log_stats": True,
        "seed": 0,
    }
    if gpu:
        preset = {
            "max_num_seqs": 512,
            "max_num_batched_tokens": 16_384,
            "gpu_memory_utilization": 0.9,
            # Log-probabilities of bfloat16 logits would be rounded to two digits.
            "hf_overrides": {"head_dtype": "float32"},
        }
    else:
        preset = {
            "enforce_eager": True,
            "block_size": 32,
            "kv_cache_memory_bytes": 2 * 1024**3,
            "max_num_batched_tokens": 4096,
            "max_num_seqs": 128,
        }
    return {**common, **preset, **extra}


def prepare_environment(verbose: bool) -> None:
    """Sets what vLLM reads from the environment, where the user has not; call it before vLLM is imported."""
    settings = dict(CPU_ENVIRONMENT) if not has_gpu() else {}
    if not verbose:
        settings |= QUIET_ENVIRONMENT
    for name, value in settings.items():
        os.environ.setdefault(name, value)


def default_dtype(gpu: bool) -> str:
    """bfloat16 where the processor computes in it, else float32."""
    if gpu:
        return "bfloat16"
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return "float32"
    return "bfloat16" if "avx512_bf16" in flags or "amx_bf16" in flags else "float32"


class HfTokenizer:
    """A fast Hugging Face tokenizer behind the scorer's protocol."""

    def __init__(self, tokenizer: Any):
        if not tokenizer.is_fast:
            raise RequestError("the model has no fast tokenizer (tokenizer.json), which the scorer needs")
        self._backend = tokenizer.backend_tokenizer
        plain = tokenizer("a", add_special_tokens=False)["input_ids"]
        full = tokenizer("a")["input_ids"]
        self.bos: list[int] = full[: _find(full, plain)]

    def encode_many(self, texts: Sequence[str]) -> list[Encoded]:
        encodings = self._backend.encode_batch(list(texts), add_special_tokens=False)
        return [Encoded(e.ids, [word if word is not None else -1 for word in e.word_ids]) for e in encodings]


def _find(full: list[int], part: list[int]) -> int:
    for start in range(len(full)):
        if full[start : start + len(part)] == part:
            return start
    return 0


class VllmEngine:
    """One AsyncLLM. Create it with `start`, inside the running event loop."""

    def __init__(self, engine: Any, tokenizer: HfTokenizer, info: ModelInfo, adapters: Mapping[str, Any], window: int):
        from vllm import SamplingParams
        from vllm.inputs import tokens_input
        from vllm.sampling_params import RequestOutputKind
        from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

        self._engine, self._adapters = engine, adapters
        self.tokenizer, self.info, self.max_concurrent_reads = tokenizer, info, window
        self._params, self._tokens_input = SamplingParams, tokens_input
        self._final_only = RequestOutputKind.FINAL_ONLY
        self._dead, self._failed = EngineDeadError, EngineGenerateError
        self._numbers = itertools.count()

    @classmethod
    async def start(
        cls,
        name: str,
        path: Path,
        digest: str,
        *,
        dtype: str | None = None,
        extra: Mapping[str, Any] | None = None,
        adapters: Mapping[str, str] | None = None,
    ) -> VllmEngine:
        """Loads the model. Raises RequestError for arguments that vLLM does not take, ScorerError if it fails."""
        import vllm
        from transformers import AutoTokenizer
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.lora.request import LoRARequest
        from vllm.v1.engine.async_llm import AsyncLLM

        gpu = has_gpu()
        arguments = engine_arguments(path, dtype or default_dtype(gpu), extra or {}, gpu)
        if adapters:
            arguments = {"enable_lora": True, "max_lora_rank": 64, "max_loras": 2, **arguments}
        known = set(AsyncEngineArgs.__dataclass_fields__)
        unknown = [key for key in arguments if key not in known]
        if unknown:
            raise RequestError(f"vLLM {vllm.__version__} has no engine argument {unknown[0]!r}", code="engine_argument")
        try:
            engine = AsyncLLM.from_engine_args(AsyncEngineArgs(**arguments))
        except Exception as error:  # vLLM raises anything; all of it means that the engine did not start
            raise ScorerError(f"vLLM could not load {name}: {_first_line(error)}", code="engine_start") from error
        config = engine.model_config
        tokenizer = HfTokenizer(AutoTokenizer.from_pretrained(path))
        info = ModelInfo(
            name=name,
            digest=digest,
            dtype=str(config.dtype).removeprefix("torch."),
            engine=f"vllm {vllm.__version__}",
            max_prompt_tokens=config.max_model_len - 1,
            adds_bos=bool(tokenizer.bos),
            adapters=list(adapters or {}),
        )
        requests = {
            adapter: LoRARequest(adapter, number, place)
            for number, (adapter, place) in enumerate((adapters or {}).items(), start=1)
        }
        return cls(engine, tokenizer, info, requests, 2 * int(arguments["max_num_seqs"]))

    async def read(self, token_ids: Sequence[int], wanted_ids: Sequence[int], model: str) -> ReadAnswer:
        params = self._params(
            max_tokens=1,
            temperature=0,
            logprob_token_ids=list(wanted_ids),
            flat_logprobs=True,
            detokenize=False,
            output_kind=self._final_only,
            skip_clone=True,
        )
        prompt = self._tokens_input(list(token_ids))
        number = str(next(self._numbers))
        try:
            outputs = self._engine.generate(prompt, params, number, lora_request=self._adapters.get(model))
            output = [output async for output in outputs][-1]
        except self._dead as error:
            raise EngineDiedError(_first_line(error)) from error
        except self._failed as error:
            raise ScorerError(f"vLLM failed on a read: {_first_line(error)}") from error
        # Flat: the sampled token first, then the wanted ids in their order.
        flat = output.outputs[0].logprobs.logprobs
        values = [float(value) for value in flat[1 : len(wanted_ids) + 1]]
        if len(values) != len(wanted_ids):
            raise ScorerError(f"vLLM answered {len(values)} of {len(wanted_ids)} wanted log-probabilities")
        return ReadAnswer(values, output.num_cached_tokens or 0)

    async def close(self) -> None:
        self._engine.shutdown()


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
