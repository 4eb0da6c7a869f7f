"""The scorer on a GPU: what HTTP costs, tree against fixed order, stock vLLM, and the matrix units' peak."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from rich.console import Console
from tests.bench.figure import Figure
from tests.bench.passes import Asked, Stock, ask, fresh
from tests.bench.programs import BareEngine, bare_engine, scorer, stock_vllm
from tests.bench.throughput import gains, paired
from tests.gpu.random_llama import SHAPES, save_random_llama

from icm_client import ScorerClient, ScoreRequest


async def peak(console: Console) -> list[Figure]:
    """What a large bfloat16 matrix product reaches: the ceiling that throughput is held against."""
    return [Figure("peak", "bfloat16 product of two 8192 x 8192 matrices", _products(), unit="TFLOP/s")]


def _products(size: int = 8192, repetitions: int = 30) -> list[float]:
    import torch

    left, right = (torch.randn(size, size, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    rates = []
    for _ in range(repetitions + 5):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        left @ right
        end.record()
        torch.cuda.synchronize()
        rates.append(2 * size**3 / (start.elapsed_time(end) * 1e-3) / 1e12)
    return rates[5:]


async def scoring(
    console: Console, model: str, repetitions: int, *, num_examples: int = 256, with_stock: bool = False
) -> list[Figure]:
    """Passes over HTTP, in process, in fixed order and, if wished, by stock vLLM; in long shots and in short ones."""
    shape = SHAPES[model]
    extra = shape.engine_arguments()
    options = [f"--engine-arg={name}={value}" for name, value in extra.items()]
    with tempfile.TemporaryDirectory() as name:
        folder = str(save_random_llama(shape, Path(name)))
        programs: list[AbstractAsyncContextManager[Any]] = [scorer(folder, *options), bare_engine(folder, extra)]
        if with_stock:
            programs.append(stock_vllm(folder, extra))
        async with _together(*programs) as (server, bare, *stocks), ScorerClient(server.url) as client:
            figures = []
            for shot_tokens in (60, 10):
                sides = _Sides(console, client, bare, num_examples, shot_tokens)
                name = f"{model}_{{}}_{shot_tokens}"
                of = f", passes of {num_examples} in {shot_tokens}-token shots, {model}"
                figures += await _tree(sides, repetitions, shape.num_weights, name, of)
                for other in stocks:
                    figures.append(await _against_stock(sides, Stock(other.url), repetitions, name, of))
    return figures


@contextlib.asynccontextmanager
async def _together(*programs: AbstractAsyncContextManager[Any]) -> AsyncIterator[list[Any]]:
    """All of them, started at once: an engine takes a minute to start."""
    async with contextlib.AsyncExitStack() as stack:
        async with asyncio.TaskGroup() as tasks:
            started = [tasks.create_task(stack.enter_async_context(program)) for program in programs]
        yield [task.result() for task in started]


class _Sides:
    """Ways to have a pass of one size scored."""

    def __init__(self, console: Console, client: ScorerClient, bare: BareEngine, num_examples: int, shot_tokens: int):
        self.console, self._client, self._bare = console, client, bare
        self._size = num_examples, shot_tokens

    async def request(self, plan: str = "tree") -> ScoreRequest:
        return await fresh(self._client, *self._size, plan)

    async def over_http(self, plan: str = "tree") -> Asked:
        return await ask(self._client, await self.request(plan))

    async def in_process(self) -> Asked:
        found = await self._bare.read(await self.request())
        return Asked(found["seconds"], found["computed_tokens"])


async def _tree(sides: _Sides, repetitions: int, num_weights: int, name: str, of: str) -> list[Figure]:
    """A tree pass over HTTP against the engine alone, against fixed order and against the matrix units."""
    for _ in range(2):  # both are warm then, and what Triton compiles late is compiled
        await sides.over_http()
        await sides.in_process()
    pairs = await paired(sides.console, repetitions, "HTTP", sides.over_http, "in process", sides.in_process)
    fixed = await sides.over_http("fixed")
    sides.console.print(f"fixed {fixed.seconds:.2f} s ({fixed.computed_tokens:,} tokens)")
    trees = [tree for tree, _ in pairs]
    rates = [tree.computed_tokens / tree.seconds for tree in trees]
    details = {
        "fixed_seconds": round(fixed.seconds, 3),
        "fixed_tokens": fixed.computed_tokens,
        "tree_tokens": round(sum(tree.computed_tokens for tree in trees) / len(trees)),
    }
    return [
        Figure(name.format("http"), "throughput over HTTP / in process" + of, gains(pairs)),
        Figure(
            name.format("fixed"),
            "throughput / fixed order's (one pass)" + of,
            [fixed.seconds / tree.seconds for tree in trees],
            details=details,
        ),
        Figure(name.format("seconds"), "a tree pass" + of, [tree.seconds for tree in trees], unit="s"),
        Figure(name.format("tokens"), "computed tokens a second" + of, rates),
        Figure(
            name.format("flops"),
            "products with the weights, no attention" + of,
            [2e-12 * num_weights * rate for rate in rates],
            unit="TFLOP/s",
            details={"num_weights": num_weights},
        ),
    ]


async def _against_stock(sides: _Sides, stock: Stock, repetitions: int, name: str, of: str) -> Figure:
    """The same tree pass sent to stock vLLM as texts, in the way that suits it best."""
    async with contextlib.aclosing(stock):
        batch = await stock.best_batch(sides.request)

        async def by_stock() -> Asked:
            return await stock.ask(await sides.request(), batch)

        pairs = await paired(sides.console, repetitions, "scorer", sides.over_http, "stock", by_stock)
    details = {"stock_prompts_a_request": batch[0], "stock_requests_at_a_time": batch[1]}
    return Figure(name.format("stock"), "throughput / stock vLLM's" + of, gains(pairs), details=details)
