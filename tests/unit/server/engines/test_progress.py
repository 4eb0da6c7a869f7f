"""An engine that has reads and ends none is given up; one that has none, or was stopped with its process, is not."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack

import pytest

from icm_server.engines.base import EngineDiedError
from icm_server.engines.fake import FakeEngine
from icm_server.engines.progress import DOUBT_S, PAUSE_S, STALLED_S, Progress


class Watched:
    """A Progress that is checked every second of a clock."""

    def __init__(self) -> None:
        self.now_s = 50.0
        self.progress = Progress(self.probe, lambda: self.now_s)
        self.engine = FakeEngine()

    async def probe(self) -> object:
        return await self.read(None)

    async def read(self, deadline_s: float | None) -> object:
        async with asyncio.timeout(deadline_s):
            with self.progress.reading():
                return await self.engine.read([1, 2], [3], "base")

    def wait(self, seconds: float) -> None:
        for _ in range(round(seconds)):
            self.now_s += 1.0
            self.progress.check()


def test_an_engine_that_ends_no_read_is_given_up() -> None:
    watched = Watched()
    watched.wait(2 * STALLED_S)  # it has nothing to do
    with ExitStack() as reads:
        for _ in range(2):
            reads.enter_context(watched.progress.reading())
        watched.wait(STALLED_S - 1)
        with watched.progress.reading():
            pass
        watched.wait(STALLED_S - 1)  # since that one ended
        with pytest.raises(asyncio.CancelledError), watched.progress.reading():
            raise asyncio.CancelledError
        with pytest.raises(EngineDiedError, match="none of its 2 reads for 900 s"):
            watched.wait(1)
    watched.wait(2 * STALLED_S)


def test_the_time_in_which_the_process_itself_was_stopped_does_not_count() -> None:
    watched = Watched()
    with watched.progress.reading():
        watched.wait(STALLED_S - 1)
        watched.now_s += PAUSE_S + 1
        watched.progress.check()
        watched.wait(STALLED_S - 1)
        with pytest.raises(EngineDiedError):
            watched.wait(1)


async def test_an_engine_that_hangs_is_given_up_although_every_read_is_cancelled_by_its_deadline() -> None:
    watched = Watched()

    async def cancelled_reads(seconds: float) -> None:
        """One after the other, never two at once, so that the engine is without reads in between."""
        for _ in range(round(seconds / 20)):
            with pytest.raises(TimeoutError):
                await watched.read(0.0)
            watched.wait(20)
            await asyncio.sleep(0.002)  # for the engine's own read

    watched.engine = FakeEngine(delay_s=0.001)
    for _ in range(2):  # it is slower than the deadlines, but ends what is not cancelled
        await cancelled_reads(STALLED_S)
    watched.engine = FakeEngine(delay_s=1e6)
    with pytest.raises(EngineDiedError, match="none of its 1 reads"):
        await cancelled_reads(DOUBT_S + STALLED_S + 60)
    watched.progress.close()
