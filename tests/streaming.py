"""A scorer that streams, by hand, and wires that break: what the client has to cope with."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from icm_client.contract.wire import STREAM_TYPE, ScoreRequest, StreamEnd, StreamRows, StreamStart
from icm_server.engines.fake import FakeEngine
from icm_server.middleware.body_limit import BodyLimit
from icm_server.scheduling.scoring import ScoringService

ROWS_PER_LINE = 3


class StreamingScorer:
    """Rows of a fake engine, in an order of its own; `asked` holds every request that came."""

    def __init__(self, seed: int = 0):
        self.scorer = ScoringService(FakeEngine())
        self.asked: list[ScoreRequest] = []
        self.encodings: list[str | None] = []
        self._random = random.Random(seed)
        routes = [Route("/v1/score", self._score, methods=["POST"]), Route("/v1/model", self._model)]
        self.app = Starlette(routes=routes, middleware=[Middleware(BodyLimit, max_body_bytes=2**26)])

    async def _model(self, request: Request) -> Response:
        return Response(self.scorer.info.model_dump_json(), media_type="application/json")

    async def _score(self, request: Request) -> Response:
        asked = ScoreRequest.model_validate_json(await request.body())
        self.asked.append(asked)
        return StreamingResponse(self._lines(asked), media_type=STREAM_TYPE)

    async def _lines(self, asked: ScoreRequest) -> AsyncIterator[str]:
        answer = await self.scorer.score(asked)
        yield line_of(StreamStart(model=answer.model, num_prompts=len(answer.logprobs))) + "\n"
        numbers = list(range(len(answer.logprobs)))
        self._random.shuffle(numbers)
        for start in range(0, len(numbers), ROWS_PER_LINE):
            some = numbers[start : start + ROWS_PER_LINE]
            yield line_of(StreamRows(prompts=some, logprobs=[answer.logprobs[number] for number in some]))
        yield line_of(StreamEnd(usage=answer.usage))


def line_of(line: Any) -> str:
    return json.dumps(line.model_dump()) + "\n"


@contextlib.asynccontextmanager
async def served(app: Any) -> AsyncIterator[int]:
    """The port at which uvicorn serves the application."""
    server = _Server(uvicorn.Config(app, port=0, log_config=None, lifespan="on", timeout_graceful_shutdown=1))
    serving = asyncio.create_task(server.serve())
    try:
        while not server.started:
            assert not serving.done(), serving
            await asyncio.sleep(0.005)
        yield int(server.servers[0].sockets[0].getsockname()[1])
    finally:
        server.should_exit = True
        await serving


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def breaking(port: int, num_bytes: Callable[[int], int | None]) -> AsyncIterator[int]:
    """A wire to `port` whose connection number k is reset once `num_bytes(k)` bytes of answers have passed.

    Yields its own port; None lets a connection live.
    """
    connections: list[asyncio.Task[None]] = []
    num_begun = 0

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal num_begun
        left = num_bytes(num_begun)
        num_begun += 1
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        forth = asyncio.create_task(_copy(reader, far_writer))
        try:
            while left is None or left > 0:
                data = await far_reader.read(65536)
                if not data:
                    break
                writer.write(data if left is None else data[:left])
                await writer.drain()
                left = None if left is None else left - len(data)
            if left is not None and left <= 0:
                await asyncio.sleep(0.02)  # what was written arrives before the reset
                writer.transport.abort()
        except ConnectionError:
            pass
        finally:
            forth.cancel()
            far_writer.transport.abort()
            writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(asyncio.ensure_future(carry(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
