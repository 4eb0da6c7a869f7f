"""An adapter in a request's body: its two files as `multipart/form-data`, or the name of a folder as JSON."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import pydantic
from fastapi import Request
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect

from icm_client.contract.adapters import CONFIG_FILE, WEIGHTS_FILE, AdapterFolder
from icm_client.contract.errors import RequestError, TooLargeError
from icm_client.text.validation import first_error
from icm_server.adapters.arrival import Arrival
from icm_server.adapters.registry import Adapters
from icm_server.middleware.cancel_on_disconnect import CallerGoneError

logging.getLogger("python_multipart").setLevel(logging.ERROR)  # it warns of what clients send

FORM, JSON = "multipart/form-data", "application/json"
WRITTEN_BYTES = 2**20
"""What is collected before it is written to disk."""
MAX_FOLDER_BYTES = 2**14
_MAX_BOUNDARY = 200
_MAX_HEADER_BYTES = 2**12
"""The most bytes of a part's headers."""


async def receive_adapter(request: Request, adapters: Adapters, arrival: Arrival) -> None:
    """Writes the adapter that the body holds or names. Raises RequestError, TooLargeError, or CallerGoneError."""
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if request.headers.get("content-encoding", "identity") != "identity":
        raise RequestError("send adapters uncompressed: numbers hardly shrink", code="unsupported_encoding", status=415)
    if kind == JSON.encode():
        await adapters.copy(arrival, (await _folder(request)).folder)
    elif kind == FORM.encode():
        boundary = options.get(b"boundary", b"")
        if not 0 < len(boundary) <= _MAX_BOUNDARY:
            raise RequestError("the Content-Type names no boundary between the parts", code="bad_form", status=400)
        await _parts(request, arrival, boundary)
    else:
        raise RequestError(
            f"send an adapter as {FORM} with the parts {CONFIG_FILE} and {WEIGHTS_FILE}, or a folder as {JSON} "
            "(archives are not unpacked)",
            code="unsupported_media_type",
            status=415,
        )


async def _folder(request: Request) -> AdapterFolder:
    body = bytearray()
    async for piece in _pieces(request):
        body += piece
        if len(body) > MAX_FOLDER_BYTES:
            raise TooLargeError(f"the body has more than {MAX_FOLDER_BYTES} bytes", code="body_too_large")
    try:
        return AdapterFolder.model_validate_json(bytes(body), strict=True)
    except pydantic.ValidationError as error:
        raise RequestError(first_error(error, whole="the body")) from None


async def _parts(request: Request, arrival: Arrival, boundary: bytes) -> None:
    """Writes in a thread, while the next pieces arrive at their own pace."""
    form = _Form(arrival, boundary)
    collected = bytearray()
    async for piece in _pieces(request):
        collected += piece
        if len(collected) >= WRITTEN_BYTES:
            await asyncio.to_thread(form.feed, bytes(collected))
            collected.clear()
    await asyncio.to_thread(form.feed, bytes(collected))
    await asyncio.to_thread(form.end)


async def _pieces(request: Request) -> AsyncIterator[bytes]:
    try:
        async for piece in request.stream():
            yield piece
    except ClientDisconnect:
        raise CallerGoneError from None


class _Form:
    """Writes each part to the file that it is named after."""

    def __init__(self, arrival: Arrival, boundary: bytes):
        self._arrival = arrival
        self._file, self._is_whole = "", False
        self._field, self._value, self._named = bytearray(), bytearray(), b""
        self._head_bytes = 0
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": lambda data, start, end: self._header(self._field, data[start:end]),
                "on_header_value": lambda data, start, end: self._header(self._value, data[start:end]),
                "on_header_end": self._header_end,
                "on_headers_finished": self._headers_end,
                "on_part_data": lambda data, start, end: self._arrival.write(self._file, data[start:end]),
                "on_end": self._end,
            },
        )

    def feed(self, data: bytes) -> None:
        """Raises RequestError."""
        try:
            self._parser.write(data)
        except MultipartParseError:
            raise _bad_form() from None

    def end(self) -> None:
        """Raises RequestError if the form, or a file of the adapter, is not complete."""
        if not self._is_whole:
            raise _bad_form()
        self._arrival.end()

    def _begin(self) -> None:
        self._named, self._head_bytes = b"", 0

    def _header(self, of: bytearray, data: bytes) -> None:
        self._head_bytes += len(data)
        if self._head_bytes > _MAX_HEADER_BYTES:
            raise _bad_form()
        of += data

    def _header_end(self) -> None:
        if self._field.lower() == b"content-disposition":
            self._named = parse_options_header(bytes(self._value))[1].get(b"name", b"")
        self._field.clear()
        self._value.clear()

    def _headers_end(self) -> None:
        self._file = self._named.decode(errors="replace")
        self._arrival.begin(self._file)

    def _end(self) -> None:
        self._is_whole = True


def _bad_form() -> RequestError:
    return RequestError(f"the body is not complete {FORM}", code="bad_form", status=400)
