"""Streams an answer as lines (NDJSON): rows are sent as they are computed, no faster than the client reads them."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from functools import partial

from fastapi import Request, Response
from starlette.types import Receive, Scope, Send

from icm_client.contract.errors import IcmError
from icm_client.contract.wire import (
    STREAM_TYPE,
    ModelInfo,
    StreamEnd,
    StreamError,
    StreamFault,
    StreamLine,
    StreamRows,
    StreamStart,
)
from icm_server.engines.base import EngineDiedError
from icm_server.middleware.cancel_on_disconnect import CallerGoneError, cancel_on_disconnect
from icm_server.middleware.errors import public_error
from icm_server.scheduling.answer_writing import AnswerWriter
from icm_server.scheduling.answers import Answers

log = logging.getLogger("icm_server")


class LineResponse(Response):
    """The `wire.StreamLine`s of an accepted request. Closes its answers."""

    media_type = STREAM_TYPE

    def __init__(self, answers: Answers, model: ModelInfo, writer: AnswerWriter):
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._answers, self._model, self._writer = answers, model, writer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            try:
                await cancel_on_disconnect(
                    Request(scope, receive), self._write(_lines(self._answers, self._model), send)
                )
            except (CallerGoneError, TimeoutError):
                return  # the answer is incomplete, so the server closes the connection
            except Exception as error:
                if not isinstance(error, (IcmError, EngineDiedError)):
                    log.error("a stream ended early", exc_info=error)
                await self._write(_failure(public_error(scope["app"], error)), send)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._answers.close()

    async def _write(self, lines: AsyncIterator[StreamLine], send: Send) -> None:
        """Raises TimeoutError if the client does not read."""
        async for line in lines:
            num_values = len(line.logprobs) * len(line.logprobs[0]) if isinstance(line, StreamRows) else 0
            await self._writer.write(send, partial(_json, line), num_values)


def _json(line: StreamLine) -> bytes:
    return line.model_dump_json().encode() + b"\n"


async def _lines(answers: Answers, model: ModelInfo) -> AsyncIterator[StreamLine]:
    yield StreamStart(model=model, num_prompts=answers.num_prompts)
    async for rows in answers.batches():
        yield StreamRows.model_construct(prompts=rows.prompts, logprobs=rows.logprobs)
    yield StreamEnd(usage=answers.usage)


async def _failure(error: IcmError) -> AsyncIterator[StreamLine]:
    yield StreamError(
        error=StreamFault(code=error.code, message=error.message, details=error.details, status=error.status)
    )
