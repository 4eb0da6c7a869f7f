"""Parses a scorer's answer line by line: bytes in, checked lines out. Independent of HTTP."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Sequence
from contextlib import aclosing
from typing import NamedTuple

import pydantic

from icm_client.contract.errors import ScorerError, UnavailableError, error_from_body
from icm_client.contract.wire import (
    ScoreRequest,
    ScoreResponse,
    StreamEnd,
    StreamError,
    StreamLine,
    StreamRows,
    StreamStart,
    is_logprob,
)
from icm_client.text.counts import counted

MAX_LINE_BYTES = 64 * 2**20
"""The longest accepted line: 65,536 rows of 50 labels."""

_LINE: pydantic.TypeAdapter[StreamLine] = pydantic.TypeAdapter(StreamLine)


class Rows(NamedTuple):
    """Some rows of an answer: `logprobs[k]` belongs to the request's prompt number `prompts[k]`."""

    prompts: list[int]
    logprobs: list[list[float]]


StreamedLine = StreamStart | StreamRows | StreamEnd


async def read_lines(chunks: AsyncIterator[bytes]) -> AsyncGenerator[StreamedLine]:
    """The lines of a streamed answer, a start first and an end last.

    Raises the typed error if the scorer sends one, UnavailableError if the answer is cut off, ScorerError if it is
    not of this protocol.
    """
    begun = ended = False
    async for text in _split(chunks):
        line = _parsed(text)
        if isinstance(line, StreamError):
            body = {"error": line.error.model_dump(exclude={"status"})}
            raise error_from_body(line.error.status, body)
        if ended or begun == isinstance(line, StreamStart):
            raise ScorerError(f"the scorer's answer has an unexpected line {line.kind!r}", code="bad_answer")
        begun, ended = True, isinstance(line, StreamEnd)
        yield line
    if not ended:
        raise UnavailableError("the scorer's answer was cut off", code="cut_off")


async def while_rows_come(lines: AsyncGenerator[StreamedLine], silent_s: float) -> AsyncGenerator[StreamedLine]:
    """The same lines. Raises UnavailableError after `silent_s` seconds with only blank lines or lines without rows; the
    time that a slow reader takes does not count."""
    left_s = silent_s
    async with aclosing(lines):
        while True:
            begun_s = time.monotonic()
            try:
                async with asyncio.timeout(left_s):
                    line = await anext(lines, None)
            except TimeoutError:
                raise UnavailableError(
                    f"the scorer has sent no row for {silent_s:g} s, though the connection is open", code="stalled"
                ) from None
            if line is None:
                return
            has_rows = isinstance(line, StreamRows) and line.prompts
            left_s = silent_s if has_rows else left_s - (time.monotonic() - begun_s)
            yield line


def lines_of(answer: ScoreResponse) -> Iterator[StreamedLine]:
    """The lines of an answer that came as one document."""
    yield StreamStart(model=answer.model, num_prompts=len(answer.logprobs))
    yield StreamRows(prompts=list(range(len(answer.logprobs))), logprobs=answer.logprobs)
    yield StreamEnd(usage=answer.usage)


class Outstanding:
    """Tracks which of a request's prompts are not answered yet; rejects rows that are repeated or were not
    requested."""

    def __init__(self, request: ScoreRequest, numbers: Iterable[int]):
        self._num_labels = len(request.labels)
        self._numbers = dict.fromkeys(numbers)

    def numbers(self) -> list[int]:
        """These prompts, in the order of the request."""
        return list(self._numbers)

    def take(self, line: StreamRows, numbers: Sequence[int]) -> Rows:
        """The line's rows, numbered as in the request; the line's own numbers are indices into `asked`.

        Raises ScorerError for rows that are not log-probabilities of all labels, or that belong to no missing prompt:
        an answer of the wrong shape or with impossible values must never become a label.
        """
        if len(line.prompts) != len(line.logprobs):
            raise ScorerError(
                f"the scorer sent {counted(len(line.logprobs), 'row')} for {counted(len(line.prompts), 'prompt')}"
            )
        rows = Rows([], line.logprobs)
        for place, row in zip(line.prompts, line.logprobs, strict=True):
            if not 0 <= place < len(numbers):
                raise ScorerError(
                    f"the scorer answered prompt {place} of a request with {counted(len(numbers), 'prompt')}"
                )
            number = numbers[place]
            if number not in self._numbers:
                raise ScorerError(f"the scorer answered prompt {number} twice")
            if len(row) != self._num_labels or not all(map(is_logprob, row)):
                raise ScorerError(f"the scorer's answer to prompt {number} is not {self._num_labels} log-probabilities")
            del self._numbers[number]
            rows.prompts.append(number)
        return rows


async def _split(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The complete lines that are not blank."""
    parts: list[bytes] = []
    num_bytes = 0
    async for chunk in chunks:
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            line = b"".join([*parts, end])
            parts, num_bytes = [], 0
            if line.strip():
                yield line
        parts.append(rest)
        num_bytes += len(rest)
        if num_bytes > MAX_LINE_BYTES:
            raise ScorerError(f"the scorer sent a line of more than {MAX_LINE_BYTES} bytes", code="bad_answer")


def _parsed(text: bytes) -> StreamLine:
    try:
        return _LINE.validate_json(text)
    except pydantic.ValidationError as error:
        raise not_of_this_protocol(error) from None


def not_of_this_protocol(error: pydantic.ValidationError) -> ScorerError:
    """The error for an answer that does not come from an icm-server."""
    return ScorerError(
        f"the answer does not match the scorer's protocol ({error.error_count()} fields differ): "
        "is it an icm-server of this version?",
        code="bad_answer",
    )
