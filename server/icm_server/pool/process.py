"""One member of a pool: `python -m icm_server.pool.process` loads an engine and makes the reads that come in.

Its standard input is the socket to the pool. It ends when the pool is gone, and when its engine has died.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

from icm_client.contract.errors import ScorerError
from icm_server.config import ServerConfig
from icm_server.engines.base import Engine, EngineDiedError, ReadAnswer
from icm_server.engines.places import Place
from icm_server.engines.registry import engine_kind
from icm_server.lifecycle.stopping import end_children, guard_children
from icm_server.pool.frames import Frames
from icm_server.pool.messages import ALIVE_EVERY_S, SentReads, described, packed_error

CLOSING_S = 5.0


class Member:
    """Makes reads, and answers in batches."""

    def __init__(self, engine: Engine, frames: Frames):
        self._engine, self._frames = engine, frames
        self._reads, self._tasks = SentReads(), dict[int, asyncio.Task[None]]()
        self._answers: list[list[Any]] = []
        self._errors: list[list[Any]] = []
        self.died: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def serve(self) -> None:
        """Returns when the pool is gone."""
        while (message := await self._frames.receive()) is not None:
            for kind, content in message.items():
                getattr(self, f"_on_{kind}")(content)

    async def watch(self) -> None:
        """Sends signs of life, and returns when the engine has died."""
        while not self.died.done():
            try:
                await self._engine.check()
            except EngineDiedError as error:
                self._has_died(error)
            self._frames.send({"alive": True})
            await asyncio.wait([self.died], timeout=ALIVE_EVERY_S)

    async def close(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await self._engine.close()

    def _on_reads(self, items: list[list[Any]]) -> None:
        for item in items:
            number, read = self._reads.unpacked(item)
            self._begin(number, self._engine.read(*read))

    def _on_cancel(self, numbers: list[int]) -> None:
        for number in numbers:
            if number in self._tasks:
                self._tasks[number].cancel()

    def _on_add(self, content: list[Any]) -> None:
        number, key, adapter, folder = content
        assert self._engine.adapters is not None
        self._begin(number, self._engine.adapters.add(key, adapter, Path(folder)))

    def _on_remove(self, content: list[Any]) -> None:
        number, key = content
        assert self._engine.adapters is not None
        self._begin(number, self._engine.adapters.remove(key))

    def _begin(self, number: int, work: Awaitable[ReadAnswer | None]) -> None:
        task = asyncio.create_task(self._make(number, work))
        self._tasks[number] = task
        task.add_done_callback(lambda _: self._tasks.pop(number, None))

    async def _make(self, number: int, work: Awaitable[ReadAnswer | None]) -> None:
        """A change of adapters has the empty answer."""
        try:
            self._answer(number, *(await work or ReadAnswer([], 0)))
        except EngineDiedError as error:
            self._has_died(error)
        except Exception as error:  # passed to the pool
            self._fail(number, error)

    def _answer(self, number: int, logprobs: list[float], num_cached_tokens: int) -> None:
        self._send_soon()
        self._answers.append([number, logprobs, num_cached_tokens])

    def _fail(self, number: int, error: Exception) -> None:
        self._send_soon()
        self._errors.append([number, packed_error(error)])

    def _send_soon(self) -> None:
        """The reads of a step end together: their answers are one message."""
        if not self._answers and not self._errors:
            asyncio.get_running_loop().call_soon(self._send)

    def _send(self) -> None:
        self._frames.send({"answers": self._answers, "errors": self._errors})
        self._answers, self._errors = [], []

    def _has_died(self, error: EngineDiedError) -> None:
        if not self.died.done():
            self.died.set_result(str(error))


async def run(end: socket.socket) -> None:
    """Loads the engine that the first message asks for, and serves it until the pool is gone."""
    frames = await Frames.open(end)
    first = await frames.receive()
    if first is None:
        return
    loop = asyncio.get_running_loop()

    def say(text: str) -> None:
        loop.call_soon_threadsafe(frames.send, {"say": text})

    member: Member | None = None
    try:
        config = ServerConfig.model_validate(first["start"])
        _take_place(Place(*first["place"]))
        engine = await asyncio.to_thread(engine_kind(config.engine).load, config, say)
        member = Member(engine, frames)
        frames.send({"ready": described(engine)})
        work = [asyncio.create_task(each) for each in (member.serve(), member.watch())]
        await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
        if member.died.done():
            frames.send({"died": member.died.result()})
    except Exception as error:  # passed to the pool, which reports it
        frames.send({"failed": packed_error(error)})
    finally:
        if member is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(member.close(), CLOSING_S)
        frames.close()


def _take_place(place: Place) -> None:
    """Call it while this thread is the only one: those that it starts later have its cores."""
    os.environ.update(place.environment)
    if place.cores:
        os.sched_setaffinity(0, place.cores)


def main() -> None:
    """Standard input becomes the null device, so no child process has the socket."""
    guard_children()
    end = socket.socket(fileno=os.dup(0))
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    try:
        asyncio.run(run(end))
    except ScorerError as error:
        sys.exit(error.message)
    end_children()
    sys.stdout.flush()
    os._exit(0)  # without waiting for a thread that still loads


if __name__ == "__main__":
    main()
