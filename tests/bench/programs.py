"""The programs that are compared, all serving one model with the same settings; each is ended after its use."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import httpx

from icm_client.contract.wire import ScoreRequest
from icm_server.config import ServerConfig
from icm_server.engines.model_store import resolve
from icm_server.engines.preset import engine_arguments, environment, has_gpu

START_LIMIT_S = 400.0


class Server(NamedTuple):
    """A program that answers HTTP."""

    url: str
    pid: int

    def memory_bytes(self) -> int:
        return memory_bytes(self.pid)


def memory_bytes(pid: int) -> int:
    """What a process has in memory (RSS), without its children."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) * 1024


@contextlib.asynccontextmanager
async def scorer(model: str, *arguments: str, engine: str = "vllm") -> AsyncIterator[Server]:
    """`icm-server serve`."""
    command = ["icm_server.cli.app", "serve", "--model", model, "--engine", engine, "--port", "0", "--exit-with-parent"]
    async with _served([*command, *arguments, "--ready-file"]) as server:
        yield server


def blocked_scorer() -> AbstractAsyncContextManager[Server]:
    """`blocked_scorer.py`: one whose passes wait for ever."""
    return _served(["tests.bench.blocked_scorer"])


def front_scorer() -> AbstractAsyncContextManager[Server]:
    """`front_scorer.py`: one of fake engines, with a language model's tokenizer."""
    return _served(["tests.bench.front_scorer"])


@contextlib.asynccontextmanager
async def _served(command: Sequence[str]) -> AsyncIterator[Server]:
    """A module with arguments, which writes its address into the file that is named last."""
    with tempfile.TemporaryDirectory() as folder:
        ready = Path(folder, "ready.json")
        async with _running(["-m", *command, str(ready)]) as process:
            async with asyncio.timeout(START_LIMIT_S):
                while not ready.exists():
                    await _alive(process)
            yield Server(json.loads(ready.read_text())["url"], process.pid)


@contextlib.asynccontextmanager
async def stock_vllm(model: str, extra: Mapping[str, Any] = MappingProxyType({})) -> AsyncIterator[Server]:
    """vLLM's own server; `extra` are engine arguments."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    arguments = engine_arguments(model_folder(model), None, extra, None, gpu=has_gpu())
    options = [f"--{name.replace('_', '-')}" + _value(value) for name, value in arguments.items()]
    options += ["--served-model-name", "stock", "--host", "127.0.0.1", "--port", str(port)]
    options += ["--enable-prompt-tokens-details", "--disable-uvicorn-access-log"]
    async with _running(["-m", "vllm.entrypoints.openai.api_server", *options]) as process:
        url = f"http://127.0.0.1:{port}"
        async with asyncio.timeout(START_LIMIT_S), httpx.AsyncClient() as client:
            while True:
                await _alive(process)
                with contextlib.suppress(httpx.HTTPError):
                    if (await client.get(f"{url}/health")).status_code == 200:
                        break
        yield Server(url, process.pid)


async def run_icm(url: str, out: Path, num_examples: int, seed: int = 0) -> None:
    """A whole `icm run` of the task `living`, in a process of its own."""
    command = ["-m", "icm_annealer.cli.app", "run", "--task", "living", "--first", str(num_examples)]
    command += ["--seed", str(seed), "--scorer", url, "--out", str(out)]
    run = await asyncio.create_subprocess_exec(
        sys.executable, *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    _, complained = await run.communicate()
    assert run.returncode == 0, complained


class BareEngine:
    """`bare_engine.py`: AsyncLLM with nothing around it."""

    def __init__(self, process: asyncio.subprocess.Process, folder: Path):
        self._process, self._file = process, folder / "request.json"

    @property
    def pid(self) -> int:
        return self._process.pid

    async def read(self, request: ScoreRequest) -> dict[str, Any]:
        """Makes a request's reads: {"seconds", "reads", "computed_tokens"}; tokenizing is not counted."""
        self._file.write_text(request.model_dump_json())
        assert self._process.stdin is not None
        self._process.stdin.write(f"{self._file}\n".encode())
        return await self.answer()

    async def answer(self) -> dict[str, Any]:
        """The next line that it says; others come from libraries."""
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            if line.startswith(b"{"):
                return dict(json.loads(line))
        raise RuntimeError("the bare engine has ended")


@contextlib.asynccontextmanager
async def bare_engine(model: str, extra: Mapping[str, Any] = MappingProxyType({})) -> AsyncIterator[BareEngine]:
    """`extra` are engine arguments."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["-m", "tests.bench.bare_engine", str(model_folder(model)), json.dumps(dict(extra))]
        async with _running(command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE) as process:
            engine = BareEngine(process, Path(folder))
            async with asyncio.timeout(START_LIMIT_S):
                await engine.answer()
            yield engine
            await _ended(process)  # it has to end by itself, or its engine's processes stay


@contextlib.asynccontextmanager
async def load(
    url: str, num_experiments: int, num_examples: int, shot_tokens: int, keys: Path | None = None
) -> AsyncIterator[None]:
    """Experiments that always have a pass under way (`load.py`), from when all of them have begun."""
    command = ["-m", "tests.bench.load", url, str(num_experiments), str(num_examples), str(shot_tokens)]
    command += [str(keys)] if keys is not None else []
    async with _running(command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE) as process:
        assert process.stdout is not None
        async with asyncio.timeout(START_LIMIT_S):
            assert await process.stdout.readline() == b"begun\n"
        yield
        await _ended(process)


@contextlib.asynccontextmanager
async def _running(arguments: Sequence[str], **streams: int) -> AsyncIterator[asyncio.subprocess.Process]:
    """A Python program; what it complains about is shown if it does not end well."""
    settings = environment(gpu=has_gpu()) | {"VLLM_LOGGING_LEVEL": "ERROR"} | dict(os.environ)
    with tempfile.TemporaryFile() as log:
        streams = {"stdin": asyncio.subprocess.DEVNULL, "stdout": log.fileno(), "stderr": log.fileno()} | streams
        process = await asyncio.create_subprocess_exec(sys.executable, *arguments, **streams, env=settings)
        try:
            yield process
        except BaseException:
            log.seek(0)
            print(log.read()[-4000:].decode(errors="replace"), file=sys.stderr)
            raise
        finally:
            if process.returncode is None:
                process.terminate()
                try:
                    await asyncio.wait_for(process.wait(), 30)
                except TimeoutError:
                    process.kill()
                    await process.wait()


async def _ended(process: asyncio.subprocess.Process) -> None:
    """Its standard input ends, and then it."""
    assert process.stdin is not None
    process.stdin.close()
    await asyncio.wait_for(process.wait(), 60)


async def _alive(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        raise RuntimeError(f"the program ended with {process.returncode} before it was ready")
    await asyncio.sleep(0.2)


def model_folder(model: str) -> Path:
    """Of a packaged model's name, or of a folder."""
    return Path(resolve(model, ServerConfig().cache.expanduser(), lambda text: print(text, file=sys.stderr)))


def _value(value: Any) -> str:
    """Of a command line option: `--flag`, or `--name=value`."""
    if value is True:
        return ""
    return "=" + (json.dumps(value) if isinstance(value, dict) else str(value))
