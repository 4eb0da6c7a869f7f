"""The vLLM engine. Only this module imports vLLM, and only when an engine is loaded."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pydantic

from icm_client.contract.errors import RequestError, ScorerError
from icm_client.contract.wire import ModelInfo
from icm_client.text.distribution import install_hint
from icm_client.text.validation import first_error
from icm_server.adapters.weights_file import shapes_of
from icm_server.config import ServerConfig
from icm_server.engines.base import SINGLE, Engine, EngineDiedError, ReadAnswer, Route
from icm_server.engines.hf_tokenizer import HfTokenizer
from icm_server.engines.model_store import model_digest, resolve
from icm_server.engines.places import Place, core_places, gpu_places
from icm_server.engines.preset import (
    QUIET_ENVIRONMENT,
    AdapterSpace,
    adapter_space,
    engine_arguments,
    environment,
    has_gpu,
)
from icm_server.engines.progress import Progress
from icm_server.engines.registry import EngineKind, Pooling, Say
from icm_server.engines.vllm_adapters import VllmAdapters


def prepare(verbose: bool) -> None:
    """Sets vLLM's environment variables, unless the user has, and imports vLLM.

    Raises RequestError if it is not installed.
    """
    try:
        settings = environment(gpu=has_gpu()) | ({} if verbose else QUIET_ENVIRONMENT)
        for name, value in settings.items():
            os.environ.setdefault(name, value)
        # An error that is caught during this import stays referenced with its traceback, and so keeps the frames of all
        # callers alive. A frame that holds an AsyncLLM would keep it until the interpreter exits.
        import vllm.v1.engine.async_llm  # noqa: F401
    except ImportError as error:
        raise RequestError(
            f"cannot import vLLM ({error}): {install_hint('server-cpu')} (server-gpu on a machine with a GPU), or use "
            "--engine fake",
            code="no_vllm",
        ) from None
    if not verbose:
        logging.getLogger("vllm").setLevel(logging.CRITICAL)


def version() -> str:
    """vLLM's version. Call it after `prepare`."""
    import vllm

    return str(vllm.__version__)


class VllmEngine:
    """One AsyncLLM. Create it with `load`."""

    members = SINGLE

    def __init__(
        self,
        engine: Any,
        tokenizer: HfTokenizer,
        info: ModelInfo,
        identity: str,
        adapters: VllmAdapters | None,
    ):
        from vllm import SamplingParams
        from vllm.exceptions import VLLMValidationError
        from vllm.inputs import tokens_input
        from vllm.sampling_params import RequestOutputKind
        from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

        self._engine, self.adapters = engine, adapters
        self.tokenizer, self.info, self.identity = tokenizer, info, identity
        config = engine.vllm_config
        # Twice the size of a step, so that the next step's reads are there when one ends.
        self.max_concurrent_reads = 2 * int(config.scheduler_config.max_num_seqs)
        self.max_concurrent_tokens = 2 * int(config.scheduler_config.max_num_batched_tokens)
        self.cache_tokens = _cache_tokens(config.cache_config)
        self._params, self._tokens_input = SamplingParams, tokens_input
        self._final_only = RequestOutputKind.FINAL_ONLY
        self._dead, self._failed = EngineDeadError, (EngineGenerateError, VLLMValidationError, ValueError)
        self._numbers, self._progress = itertools.count(), Progress(lambda: self.read([0], [0], "base"))

    @classmethod
    def load(
        cls,
        name: str,
        path: Path,
        digest: str,
        *,
        dtype: str | None = None,
        extra: Mapping[str, Any] | None = None,
        adapters: AdapterSpace | None = None,
    ) -> VllmEngine:
        """Loads the model, which takes half a minute or more. It may be called in any thread; use the engine in one
        event loop.

        `adapters` is the room for adapters, if there may be some. Raises RequestError for arguments that vLLM does not
        accept, ScorerError if it fails.
        """
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.lora.request import LoRARequest
        from vllm.v1.engine.async_llm import AsyncLLM
        from vllm.v1.engine.exceptions import EngineDeadError

        arguments = engine_arguments(path, dtype, extra or {}, adapters, gpu=has_gpu())
        for key in arguments:
            if key not in AsyncEngineArgs.__dataclass_fields__:
                raise RequestError(f"vLLM {version()} has no engine argument {key!r}", code="engine_argument")
        tokenizer = _tokenizer(name, path, arguments)
        try:
            engine = AsyncLLM.from_engine_args(AsyncEngineArgs(**arguments))
        except Exception as error:  # vLLM raises many kinds; all mean that the engine did not start
            raise ScorerError(f"vLLM could not load {name}: {_first_line(error)}", code="engine_start") from error
        config = engine.model_config
        info = ModelInfo(
            name=name,
            digest=digest,
            dtype=str(config.dtype).removeprefix("torch."),
            engine=f"vllm {version()}",
            max_prompt_tokens=config.max_model_len - 1,
            adds_bos=bool(tokenizer.bos),
            cache_block_tokens=engine.vllm_config.cache_config.block_size,
        )
        # Any argument that the user sets may change answers (quantization, for one), so all are included.
        same = [digest, info.dtype, info.engine, dict(sorted((extra or {}).items()))]
        host = VllmAdapters(engine, LoRARequest, EngineDeadError, shapes_of(path)) if adapters is not None else None
        return cls(engine, tokenizer, info, json.dumps(same, default=str), host)

    async def read(
        self,
        token_ids: list[int],
        target_ids: Sequence[int],
        model: str,
        rank: int = 0,
        salt: str | None = None,
        route: Route | None = None,
    ) -> ReadAnswer:
        params = self._params(
            max_tokens=1,
            temperature=0,
            logprob_token_ids=list(target_ids),
            flat_logprobs=True,
            detokenize=False,
            output_kind=self._final_only,
            skip_clone=True,
        )
        prompt = self._tokens_input(token_ids, cache_salt=salt)
        number = str(next(self._numbers))
        try:
            lora = self.adapters.request_of(model) if self.adapters is not None else None
            outputs = self._engine.generate(prompt, params, number, lora_request=lora, priority=rank)
            with self._progress.reading():
                output = [output async for output in outputs][-1]
        except self._dead as error:
            raise EngineDiedError(_first_line(error)) from error
        except self._failed as error:
            raise ScorerError(f"vLLM failed on a read: {_first_line(error)}") from error
        # Flat: the sampled token first, then the requested ids in order.
        flat = output.outputs[0].logprobs.logprobs
        values = [float(value) for value in flat[1 : len(target_ids) + 1]]
        if len(values) != len(target_ids):
            raise ScorerError(f"vLLM answered {len(values)} of {len(target_ids)} log-probabilities")
        return ReadAnswer(values, output.num_cached_tokens or 0)

    async def check(self) -> None:
        self._progress.check()
        try:
            await self._engine.check_health()
        except self._dead as error:
            raise EngineDiedError(_first_line(error)) from error

    async def close(self) -> None:
        self._progress.close()
        engine, self._engine = self._engine, None
        await asyncio.to_thread(engine.shutdown, timeout=1.0)


def _cache_tokens(config: Any) -> int:
    """The size of the prefix cache, which is known once the engine has started."""
    return int(config.kv_cache_size_tokens or (config.num_gpu_blocks or 1) * config.block_size)


def _first_line(error: BaseException) -> str:
    if isinstance(error, pydantic.ValidationError):  # its first line is only a count
        return first_error(error)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:400] if lines else type(error).__name__


def _load(config: ServerConfig, say: Say) -> Engine:
    say("importing vLLM")
    prepare(config.verbose)
    path = _folder(config, say)
    reader = f"vllm {version()}"
    say(f"loading {config.model} into vLLM")
    return VllmEngine.load(
        config.model,
        path,
        model_digest(path, reader),
        dtype=config.dtype,
        # The engine loads a folder, which has no revisions.
        extra={name: value for name, value in config.engine_args.items() if name != "revision"},
        adapters=adapter_space(config.adapters),
    )


def _folder(config: ServerConfig, say: Say) -> Path:
    """The model's folder, downloaded or converted if it has to be."""
    revision = config.engine_args.get("revision")
    found = resolve(
        config.model,
        config.cache.expanduser(),
        say,
        revision=None if revision is None else str(revision),
        runs_code=bool(config.engine_args.get("trust_remote_code")),
    )
    return Path(found)


def _tokenizer(name: str, path: Path, arguments: Mapping[str, Any]) -> HfTokenizer:
    from transformers import AutoTokenizer

    try:
        runs_code = bool(arguments.get("trust_remote_code"))
        return HfTokenizer(AutoTokenizer.from_pretrained(path, trust_remote_code=runs_code))
    except (OSError, ValueError) as error:
        raise RequestError(f"cannot load the tokenizer of {name}: {_first_line(error)}") from None


def _load_tokenizer(config: ServerConfig, say: Say) -> HfTokenizer:
    return _tokenizer(config.model, _folder(config, say), config.engine_args)


def _places(config: ServerConfig) -> list[Place]:
    if not has_gpu():
        return core_places(sorted(os.sched_getaffinity(0)), config.engines)
    import torch

    sizes = (config.engine_args.get(f"{kind}_parallel_size", 1) for kind in ("tensor", "pipeline"))
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = shown.split(",") if shown else [str(number) for number in range(torch.cuda.device_count())]
    return gpu_places(gpus, math.prod(map(int, sizes)), config.engines)


ENGINE = EngineKind(
    _load,
    takes=frozenset({"dtype", "engine_args", "adapters"}),
    pooling=Pooling(_load_tokenizer, _places),
    captures_output=True,
)
