"""Experiments that always have a pass under way, until standard input ends: `load.py URL EXPERIMENTS EXAMPLES TOKENS`.

Passes are made before; later ones are the same with another number in every text, so that they are fresh.
"""

from __future__ import annotations

import asyncio
import itertools
import sys

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


async def main(url: str, num_experiments: int, num_examples: int, shot_tokens: int) -> None:
    begun = asyncio.Semaphore(0)
    async with ScorerClient(url) as client, asyncio.TaskGroup() as tasks:
        requests = [await fresh(client, num_examples, shot_tokens) for _ in range(num_experiments)]

        async def run(number: int) -> None:
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
    asyncio.run(main(sys.argv[1], *map(int, sys.argv[2:])))
