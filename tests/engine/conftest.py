"""Real engines, each started once for all tests that use it, in the session's event loop."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.tiny_models import save_tiny_llama, save_tiny_lora

from icm_server.engines import vllm as vllm_engine
from icm_server.engines.model_store import model_digest, pull
from icm_server.engines.preset import AdapterSpace, environment

STOCK = ["--dtype", "float32", "--enforce-eager", "--block-size", "32", "--kv-cache-memory-bytes", str(128 * 2**20)]
STOCK += ["--max-num-batched-tokens", "2048", "--max-num-seqs", "64", "--enable-prompt-tokens-details"]
STOCK += ["--enable-lora", "--max-lora-rank", "8", "--host", "127.0.0.1", "--served-model-name", "tiny"]
SMALL = {"kv_cache_memory_bytes": 256 * 2**20}


@asynccontextmanager
async def started(path: Path, **settings: Any) -> AsyncIterator[vllm_engine.VllmEngine]:
    """An engine with the preset of this machine and a small cache."""
    vllm_engine.prepare(verbose=False)
    settings = {"extra": SMALL, **settings}
    digest = model_digest(path, vllm_engine.version())
    engine = await asyncio.to_thread(vllm_engine.VllmEngine.load, path.name, path, digest, **settings)
    try:
        yield engine
    finally:
        await engine.close()
        del engine
        gc.collect()  # AsyncLLM.__del__ fails when the interpreter exits


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny Llama with random weights."""
    return save_tiny_llama(tmp_path_factory.mktemp("models") / "tiny-llama")


@pytest.fixture(scope="session")
def tiny_lora(tiny_llama: Path) -> Path:
    """The folder of a LoRA adapter of it, with random weights."""
    return save_tiny_lora(tiny_llama, tiny_llama.parent / "tiny-lora")


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """The folder of the packaged language model, converted on first use."""
    return pull("smollm2-135m", Path("~/.cache/icm/models").expanduser(), print)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def tiny_engine(tiny_llama: Path) -> AsyncIterator[vllm_engine.VllmEngine]:
    async with started(tiny_llama, dtype="float32", adapters=AdapterSpace(4, 8)) as engine:
        yield engine


@pytest_asyncio.fixture(loop_scope="session")
async def smollm2_float32(smollm2: Path) -> AsyncIterator[vllm_engine.VllmEngine]:
    async with started(smollm2, dtype="float32", extra={**SMALL, "max_model_len": 2048}) as engine:
        yield engine


@pytest_asyncio.fixture(loop_scope="session")
async def smollm2_bfloat16(smollm2: Path) -> AsyncIterator[vllm_engine.VllmEngine]:
    async with started(smollm2, dtype="bfloat16", extra={**SMALL, "max_model_len": 2048}) as engine:
        yield engine


@pytest.fixture(scope="session")
def stock_vllm(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of vLLM's own server of the tiny Llama, which counts cached tokens and loads adapters. It answers
    some fifteen seconds later."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(tiny_llama), *STOCK]
    command += ["--port", str(port)]
    log = tmp_path_factory.mktemp("stock") / "log"
    settings = environment(gpu=False) | dict(os.environ) | {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1"}
    with log.open("wb") as file, subprocess.Popen(command, stdout=file, stderr=file, env=settings) as process:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
