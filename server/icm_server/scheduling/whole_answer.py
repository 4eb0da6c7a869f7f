"""An answer as one JSON document, for people and small programs. Its size is limited, because all of it is held in
memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from fastapi import Response
from pydantic_core import to_json
from starlette.types import Receive, Scope, Send

from icm_client.contract.errors import BusyError, TooLargeError
from icm_client.contract.wire import STREAM_TYPE, ScoreResponse
from icm_server.auth.tenant import Tenant
from icm_server.scheduling.answer_writing import AnswerWriter
from icm_server.sharing.shared_limit import SharedLimit

MAX_VALUES = 2**20
"""The most log-probabilities in one answer."""
MAX_HELD_VALUES = 2**23
"""The most log-probabilities in all answers that are being computed or sent."""
PIECE_VALUES = 2**12


class WholeAnswers:
    """Counts the log-probabilities of these answers, by tenant."""

    def __init__(self, max_held_values: int = MAX_HELD_VALUES):
        self._shares = SharedLimit(max_held_values)

    @contextmanager
    def held(self, num: int, tenant: Tenant) -> Iterator[None]:
        """Reserves memory for an answer of `num` log-probabilities. Raises TooLargeError or BusyError."""
        if num > MAX_VALUES:
            raise TooLargeError(
                f"the answer would hold {num} log-probabilities; the limit is {MAX_VALUES}: stream it with `Accept: "
                f"{STREAM_TYPE}`, or send fewer prompts or labels",
                code="answer_too_large",
                details={"values": num, "limit": MAX_VALUES},
            )
        if not self._shares.take(tenant.name, num):
            raise BusyError(
                f"the scorer's memory for answers is full: stream the answer with `Accept: {STREAM_TYPE}`, or "
                f"retry later",
                code="busy_memory",
            )
        try:
            yield
        finally:
            self._shares.give_back(tenant.name, num)


class WholeResponse(Response):
    """A `ScoreResponse`, written in pieces. Calls `release` when it has been sent or cancelled."""

    media_type = "application/json"

    def __init__(self, answer: ScoreResponse, writer: AnswerWriter, release: Callable[[], object]):
        super().__init__()
        del self.headers["content-length"]
        self._answer, self._writer, self._release = answer, writer, release

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await self._write(send)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except TimeoutError:
            pass  # the answer is incomplete, so the server closes the connection
        finally:
            self._release()

    async def _write(self, send: Send) -> None:
        rows, num_labels = self._answer.logprobs, len(self._answer.logprobs[0])
        step = max(1, PIECE_VALUES // num_labels)
        for start in range(0, len(rows), step):
            piece = partial(_json, rows[start : start + step], b"," if start else b'{"logprobs":[')
            await self._writer.write(send, piece, min(step, len(rows) - start) * num_labels)
        rest = f'],"usage":{self._answer.usage.model_dump_json()},"model":{self._answer.model.model_dump_json()}}}'
        await self._writer.write(send, rest.encode)


def _json(rows: list[list[float]], before: bytes) -> bytes:
    return before + to_json(rows, inf_nan_mode="null")[1:-1]
