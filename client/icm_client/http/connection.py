"""HTTP to one address, bounded in time and size. The only module that uses httpx; it maps its errors to ours."""

from __future__ import annotations

import asyncio
import json
import math
import re
import socket
import ssl
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import httpx

from icm_client.contract.errors import IcmError, RequestError, ScorerError, UnavailableError, error_from_body
from icm_client.http.address import Address, shown
from icm_client.http.proxies import Proxy, proxy_for
from icm_client.http.retry import retry_after_s
from icm_client.http.unpacking import ACCEPTED, unpacked

MAX_ERROR_BYTES = 2**20
"""How much of an error's body is read."""
CONNECT_S, WRITE_S = 8.0, 300.0
PROBE_AFTER_S, PROBE_EVERY_S, NUM_PROBES = 30, 10, 3
"""When a connection is silent, the system asks the other machine for a sign of life. An answer may take an hour, and a
machine that lost its power or its network closes no connection."""
UNACKNOWLEDGED_S = PROBE_AFTER_S + PROBE_EVERY_S * NUM_PROBES
"""How long the other machine may leave sent bytes unacknowledged. Meanwhile the system does not probe, but sends them
again, for a quarter of an hour by default."""


class Connection:
    """Requests to `address`, through the environment's proxy if one applies; see `proxies`.

    `what` names the server ("the scorer"), and `advice` says what to do if it does not answer. Raises RequestError at
    once for an invalid key, an unusable proxy, or certificates that cannot be read.
    """

    def __init__(
        self,
        address: Address,
        what: str,
        advice: str,
        *,
        api_key: str | None,
        read_timeout_s: float,
        transport: httpx.AsyncBaseTransport | None,
    ):
        if not (math.isfinite(read_timeout_s) and read_timeout_s > 0):
            raise RequestError(f"read_timeout_s is {read_timeout_s}: it has to be a number of seconds above 0")
        self.url, self._what, self._advice = address.url, what, advice
        self._host, self._timeout_s = address.host, read_timeout_s
        headers = authorization(address, api_key) | {"Accept-Encoding": ACCEPTED}
        self._proxy = proxy_for(address.url) if transport is None else None
        self._http = httpx.AsyncClient(
            headers=headers,
            timeout=httpx.Timeout(CONNECT_S, read=read_timeout_s, write=WRITE_S, pool=None),
            transport=transport or _transport(address, self._proxy),
        )

    async def close(self) -> None:
        await self._http.aclose()

    @asynccontextmanager
    async def send(
        self,
        method: str,
        path: str,
        content: bytes | AsyncIterable[bytes] | None = None,
        headers: dict[str, str] | None = None,
    ) -> AsyncIterator[httpx.Response]:
        """The answer, whatever its status; read its body within the context by `whole`, `pieces` or `error`.

        Errors until the end of the context are mapped: UnavailableError without an answer, ScorerError for a body that
        cannot be decompressed, RequestError for a redirect, which is not followed: a key is for one address.
        """
        with self._mapped_errors():
            request = self._http.build_request(method, self.url + path, content=content, headers=headers)
            async with self._timely():
                response = await self._http.send(request, stream=True)
            try:
                if response.has_redirect_location:
                    raise self._moved(response)
                yield response
            finally:
                await response.aclose()

    async def whole(self, response: httpx.Response, max_bytes: int) -> bytes:
        """The body. Raises ScorerError if it is too long, UnavailableError if it exceeds the read timeout."""
        content = bytearray()
        async with self._timely():
            async for piece in self.pieces(response, max_bytes):
                content += piece
        return bytes(content)

    async def error(self, response: httpx.Response) -> IcmError:
        """The typed error of an unsuccessful answer; a body that is not JSON may be a proxy's page, or empty."""
        content = bytearray()
        async with self._timely():
            async for piece in unpacked(response):
                content += piece
                if len(content) > MAX_ERROR_BYTES:
                    break
        try:
            body = json.loads(content)
        except (ValueError, RecursionError):
            body = None
        return error_from_body(response.status_code, body, retry_after_s(response.headers.get("Retry-After", "")))

    async def pieces(self, response: httpx.Response, max_bytes: int) -> AsyncIterator[bytes]:
        """The body as it arrives. Raises ScorerError if it is too long."""
        num_bytes = 0
        async for piece in unpacked(response):
            num_bytes += len(piece)
            if num_bytes > max_bytes:
                raise ScorerError(
                    f"{self._what} at {self.url} answered with more than {max_bytes} bytes, too many for this request",
                    code="bad_answer",
                )
            yield piece

    @asynccontextmanager
    async def _timely(self) -> AsyncIterator[None]:
        """Limits the total time: httpx limits only each piece, and a piece may come every minute."""
        try:
            async with asyncio.timeout(self._timeout_s):
                yield
        except TimeoutError:
            reason = f"no whole answer within {self._timeout_s:g} s"
            raise UnavailableError(
                f"{self._what} at {self.url} does not answer ({reason})", details={"reason": reason}
            ) from None

    @contextmanager
    def _mapped_errors(self) -> Iterator[None]:
        try:
            yield
        except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
            raise RequestError(f"{self.url!r} is not a URL of {self._what}: {error}") from None
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise self._unreachable(str(error) or type(error).__name__, {"is_connected": False}) from error
        except httpx.TransportError as error:
            raise self._unreachable(str(error) or type(error).__name__) from error
        except httpx.DecodingError as error:
            raise ScorerError(
                f"the answer of {self.url} cannot be decompressed ({error}): it was damaged on the way"
                + self._by_proxy(),
                code="bad_answer",
            ) from None
        except IcmError as error:
            if self._proxy and (error.code == "bad_answer" or error.code.startswith("http_")):
                error.message += self._by_proxy()
                error.args = (error.message,)
            raise

    def _unreachable(self, reason: str, facts: dict[str, bool] | None = None) -> IcmError:
        if "CERTIFICATE_VERIFY_FAILED" in reason:
            return RequestError(
                f"the certificate of {self.url} is not trusted ({reason}): set SSL_CERT_FILE to your own certificate "
                f"authority's file{self._by_proxy()}",
                code="bad_certificate",
            )
        advice = f"{self._by_proxy()}." if self._proxy else f". {self._advice}"
        details = {"reason": reason + self._by_proxy(), **(facts or {})}
        return UnavailableError(f"cannot reach {self._what} at {self.url} ({reason}){advice}", details=details)

    def _by_proxy(self) -> str:
        """A hint for errors that a proxy may have caused."""
        return self._proxy.hint(self._host) if self._proxy else ""

    def _moved(self, response: httpx.Response) -> RequestError:
        place = shown(response.headers["Location"])[:200]
        return RequestError(
            f"{self.url} has moved, to {place!r}: use that address if it is your scorer's",
            code="moved",
        )


def authorization(address: Address, api_key: str | None) -> dict[str, str]:
    """The header for a key, or for the user and password of an address. Raises RequestError, which shows neither, if
    both are given, or for a key that a header cannot contain."""
    if api_key is None:
        return {"Authorization": address.basic} if address.basic else {}
    if address.basic:
        raise RequestError(
            f"{address.url} has both an API key and a user or password in its URL; only one of them can be sent: "
            "remove one",
            code="bad_key",
        )
    wrong = re.search(r"[^!-~]", api_key)
    if not api_key or wrong:
        why = f"character {wrong.start() + 1} is a space, or not ASCII" if wrong else "it is empty"
        raise RequestError(f"this is not an API key: {why}. Is it the right file?", code="bad_key")
    return {"Authorization": f"Bearer {api_key}"}


def _transport(address: Address, proxy: Proxy | None) -> httpx.AsyncBaseTransport:
    route = [address.url, *([proxy.url] if proxy else [])]
    through = proxy.url if proxy else None
    if any(url.startswith("https:") for url in route):
        with certificate_errors():
            return httpx.AsyncHTTPTransport(proxy=through, socket_options=_SIGNS_OF_LIFE)
    # Loading the certificates takes 27 ms. Without TLS none are needed, and this context trusts none.
    none = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return httpx.AsyncHTTPTransport(verify=none, proxy=through, socket_options=_SIGNS_OF_LIFE)


_SIGNS_OF_LIFE = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in (
            ("TCP_KEEPIDLE", PROBE_AFTER_S),
            ("TCP_KEEPINTVL", PROBE_EVERY_S),
            ("TCP_KEEPCNT", NUM_PROBES),
            ("TCP_USER_TIMEOUT", 1000 * UNACKNOWLEDGED_S),
        )
        if hasattr(socket, name)  # not every system has all of them
    ),
]


@contextmanager
def certificate_errors() -> Iterator[None]:
    """Raises RequestError if a new transport cannot read the environment's certificates."""
    try:
        yield
    except OSError as error:
        raise RequestError(
            f"the certificates that SSL_CERT_FILE or SSL_CERT_DIR names cannot be read: {error.strerror or error}",
            code="bad_certificate",
        ) from None
