"""Experiments that always have a pass under way, until standard input ends:
`load.py URL EXPERIMENTS EXAMPLES TOKENS [KEYS]`, where KEYS is a file with an API key a line, one for each experiment.

Passes are made before; later ones are the same with another number in every text, so that they are fresh.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sys
from pathlib import Path

from tests.bench.passes import fresh

from icm_client import ScorerClient, ScoreRequest

numbers = itertools.count()


def renewed(request: ScoreRequest, experiment: str) -> ScoreRequest:
    number = next(numbers)
    labels = {text for label in request.labels for text in ([label] if isinstance(label, str) else label)}
    segments = [
        text if text in labels else text.replace("\nAnswer:", f" {number}\nAnswer:") for text in request.segments
    ]
    return request.model_copy(update={"segments": segments, "experiment": experiment})


async def main(url: str, num_experiments: int, num_examples: int, shot_tokens: int, keys: list[str]) -> None:
    begun = asyncio.Semaphore(0)
    async with contextlib.AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        clients = [await stack.enter_async_context(ScorerClient(url, api_key=key)) for key in keys or [None]]
        requests = [await fresh(clients[0], num_examples, shot_tokens) for _ in range(num_experiments)]

        async def run(number: int) -> None:
            client = clients[number % len(clients)]
            while True:
                asking = asyncio.create_task(client.score(renewed(requests[number], f"heavy{number}")))
                begun.release()
                await asking

        running = [tasks.create_task(run(number)) for number in range(num_experiments)]
        for _ in running:
            await begun.acquire()
        print("begun", flush=True)
        await asyncio.to_thread(sys.stdin.read)
        for task in running:
            task.cancel()


if __name__ == "__main__":
    api_keys = Path(sys.argv[5]).read_text().split() if len(sys.argv) > 5 else []
    asyncio.run(main(sys.argv[1], *map(int, sys.argv[2:5]), api_keys))
