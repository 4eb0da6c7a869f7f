"""What HTTP in front of the engine costs, and what the scorer gains over vLLM's own server."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from rich.console import Console
from tests.bench.fast_model import make_fast_model
from tests.bench.figure import Figure
from tests.bench.passes import STOCK_BATCHES, Asked, Stock, ask, fresh
from tests.bench.programs import bare_engine, model_folder, scorer, stock_vllm

from icm_client import ScorerClient

Side = Callable[[], Awaitable[Asked]]


async def http(console: Console, repetitions: int, shot_tokens: int) -> list[Figure]:
    """The same passes over HTTP and in process."""
    async with scorer("tiny-random") as server, bare_engine("tiny-random") as bare, ScorerClient(server.url) as client:

        async def over_http() -> Asked:
            return await ask(client, await fresh(client, 256, shot_tokens))

        async def in_process() -> Asked:
            found = await bare.read(await fresh(client, 256, shot_tokens))
            return Asked(found["seconds"], found["computed_tokens"])

        await over_http()  # both are warm then
        await in_process()
        pairs = await paired(console, repetitions, "HTTP", over_http, "in process", in_process)
    return [
        Figure(
            f"http_{shot_tokens}",
            f"throughput over HTTP / in-process AsyncLLM, passes of 256 in {shot_tokens}-token shots",
            gains(pairs),
            at_least=0.90,
        )
    ]


@contextlib.asynccontextmanager
async def _both(model: str) -> AsyncIterator[tuple[ScorerClient, Stock]]:
    """The scorer and stock vLLM, warmed up."""
    async with scorer(model) as server, stock_vllm(model) as other, ScorerClient(server.url) as client:
        theirs = Stock(other.url)
        await ask(client, await fresh(client, 32, 10))
        await theirs.ask(await fresh(client, 32, 10), STOCK_BATCHES[0])
        yield client, theirs
        await theirs.aclose()


async def stock(console: Console, repetitions: int, shot_tokens: int, *, fast: bool = True) -> list[Figure]:
    """The same tree passes by the scorer and by stock vLLM, which is sent texts in the way that suits it best."""
    with tempfile.TemporaryDirectory() as folder:
        model = str(make_fast_model(model_folder("tiny-random"), Path(folder))) if fast else "tiny-random"
        pairs, batch = await _against_stock(console, repetitions, shot_tokens, model)
    name, called = ("stock", "a fast model") if fast else ("stock_tiny", model)
    return [
        Figure(
            f"{name}_{shot_tokens}",
            f"throughput / stock vLLM's, tree passes of 256 in {shot_tokens}-token shots, {called}",
            gains(pairs),
            at_least=1.5,
            details={"stock_prompts_a_request": batch[0], "stock_requests_at_a_time": batch[1]},
        )
    ]


async def _against_stock(
    console: Console, repetitions: int, shot_tokens: int, model: str
) -> tuple[list[tuple[Asked, Asked]], tuple[int, int]]:
    """What passes took, and how stock vLLM was sent its prompts."""
    async with _both(model) as (client, theirs):
        batch = await theirs.best_batch(lambda: fresh(client, 64, shot_tokens))
        console.print(f"stock is sent {batch[0]} prompts a request, {batch[1]} requests at a time")

        async def ours() -> Asked:
            return await ask(client, await fresh(client, 256, shot_tokens))

        async def stocks() -> Asked:
            return await theirs.ask(await fresh(client, 256, shot_tokens), batch)

        return await paired(console, repetitions, "scorer", ours, "stock", stocks), batch


async def language_model(console: Console, repetitions: int, shot_tokens: int) -> list[Figure]:
    """The same on SmolLM2, where the engine takes nearly all of the time."""
    async with _both("smollm2-135m") as (client, theirs):

        async def ours() -> Asked:
            return await ask(client, await fresh(client, 128, shot_tokens))

        async def stocks() -> Asked:
            return await theirs.ask(await fresh(client, 128, shot_tokens), STOCK_BATCHES[0])

        pairs = await paired(console, repetitions, "scorer", ours, "stock", stocks)
    what = f"throughput / stock vLLM's, tree passes of 128 in {shot_tokens}-token shots, SmolLM2"
    return [Figure("smollm2_tree", what, gains(pairs), at_least=1.0)]


async def fixed_order(console: Console, repetitions: int, shot_tokens: int) -> list[Figure]:
    """Passes on SmolLM2 against one that stock vLLM is fed in `fixed` order, as the published code would."""
    async with _both("smollm2-135m") as (client, theirs):
        fixed = await theirs.ask(await fresh(client, 128, shot_tokens, "fixed"), STOCK_BATCHES[0])
        console.print(f"stock in fixed order {fixed.seconds:.1f} s")
        ours = [await ask(client, await fresh(client, 128, shot_tokens)) for _ in range(repetitions)]
        console.print("scorer " + ", ".join(f"{one.seconds:.1f} s" for one in ours))
    what = f"throughput / stock vLLM's in fixed order (one pass), passes of 128 in {shot_tokens}-token shots, SmolLM2"
    return [Figure("smollm2_fixed", what, [fixed.seconds / one.seconds for one in ours], at_least=5.0)]


async def paired(
    console: Console, repetitions: int, first_name: str, first: Side, second_name: str, second: Side
) -> list[tuple[Asked, Asked]]:
    """What both took, each time; they take turns in going first."""
    pairs = []
    for number in range(repetitions):
        if number % 2:
            other, one = await second(), await first()
        else:
            one, other = await first(), await second()
        pairs.append((one, other))
        console.print(
            f"{first_name} {one.seconds:.3f} s ({one.computed_tokens:,} tokens), "
            f"{second_name} {other.seconds:.3f} s ({other.computed_tokens:,}): {gains(pairs)[-1]:.3f}"
        )
    return pairs


def gains(pairs: list[tuple[Asked, Asked]]) -> list[float]:
    """By how much the first was faster, each time."""
    return [other.seconds / one.seconds for one, other in pairs]
