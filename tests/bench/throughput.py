"""What HTTP in front of the engine costs, and what the scorer gains over vLLM's own server."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable

from rich.console import Console
from tests.bench.figure import Figure
from tests.bench.passes import STOCK_BATCHES, Asked, Stock, ask, fresh
from tests.bench.programs import bare_engine, scorer, stock_vllm

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

        pairs = await _paired(console, repetitions, "HTTP", over_http, "in process", in_process)
    return [
        Figure(
            f"http_{shot_tokens}",
            f"throughput over HTTP / in-process AsyncLLM, passes of 256 in {shot_tokens}-token shots",
            _gains(pairs),
            at_least=0.90,
        )
    ]


async def stock(console: Console, repetitions: int, shot_tokens: int) -> list[Figure]:
    """The same tree passes by the scorer and by stock vLLM, which is sent texts in the way that suits it best."""
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(scorer("tiny-random"))
        theirs = Stock((await stack.enter_async_context(stock_vllm("tiny-random"))).url)
        stack.push_async_callback(theirs.close)
        client = await stack.enter_async_context(ScorerClient(server.url))
        batch = await _best_batch(console, client, theirs, 256, shot_tokens)

        async def ours() -> Asked:
            return await ask(client, await fresh(client, 256, shot_tokens))

        async def stocks() -> Asked:
            return await theirs.ask(await fresh(client, 256, shot_tokens), batch)

        pairs = await _paired(console, repetitions, "scorer", ours, "stock", stocks)
    return [
        Figure(
            f"stock_{shot_tokens}",
            f"throughput / stock vLLM's, tree passes of 256 in {shot_tokens}-token shots",
            _gains(pairs),
            at_least=1.5,
            details={"stock_prompts_a_request": batch[0], "stock_requests_at_a_time": batch[1]},
        )
    ]


async def language_model(console: Console, repetitions: int, shot_tokens: int) -> list[Figure]:
    """The same against stock vLLM on SmolLM2, where the engine takes nearly all of the time."""
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(scorer("smollm2-135m"))
        theirs = Stock((await stack.enter_async_context(stock_vllm("smollm2-135m"))).url)
        stack.push_async_callback(theirs.close)
        client = await stack.enter_async_context(ScorerClient(server.url))
        batch = (32, 8)

        async def ours() -> Asked:
            return await ask(client, await fresh(client, 128, shot_tokens))

        async def stocks() -> Asked:
            return await theirs.ask(await fresh(client, 128, shot_tokens), batch)

        pairs = await _paired(console, repetitions, "scorer", ours, "stock", stocks)
        fixed = await theirs.ask(await fresh(client, 128, shot_tokens, "fixed"), batch)
        console.print(f"stock in fixed order {fixed.seconds:.1f} s")
    what = f"passes of 128 in {shot_tokens}-token shots, SmolLM2"
    return [
        Figure("smollm2_tree", f"throughput / stock vLLM's, tree {what}", _gains(pairs), at_least=1.0),
        Figure(
            "smollm2_fixed",
            f"throughput / stock vLLM's in fixed order (once), {what}",
            [fixed.seconds / one.seconds for one, _ in pairs],
            at_least=5.0,
        ),
    ]


async def _best_batch(
    console: Console, client: ScorerClient, theirs: Stock, num_examples: int, shot_tokens: int
) -> tuple[int, int]:
    """The fastest way to send a pass to stock vLLM; the first passes also warm it up."""
    seconds = {}
    for batch in (STOCK_BATCHES[0], *STOCK_BATCHES):
        seconds[batch] = (await theirs.ask(await fresh(client, num_examples, shot_tokens), batch)).seconds
    console.print("stock: " + ", ".join(f"{a} x {b}: {s:.2f} s" for (a, b), s in seconds.items()))
    return min(seconds, key=lambda batch: seconds[batch])


async def _paired(
    console: Console, repetitions: int, first_name: str, first: Side, second_name: str, second: Side
) -> list[tuple[Asked, Asked]]:
    """What both took, each time; they take turns in going first, after a pass each to warm up."""
    await first()
    await second()
    pairs = []
    for number in range(repetitions):
        if number % 2:
            other, one = await second(), await first()
        else:
            one, other = await first(), await second()
        pairs.append((one, other))
        console.print(
            f"{first_name} {one.seconds:.3f} s ({one.computed_tokens:,} tokens), "
            f"{second_name} {other.seconds:.3f} s ({other.computed_tokens:,}): {_gains(pairs)[-1]:.3f}"
        )
    return pairs


def _gains(pairs: list[tuple[Asked, Asked]]) -> list[float]:
    """By how much the first was faster, each time."""
    return [other.seconds / one.seconds for one, other in pairs]
