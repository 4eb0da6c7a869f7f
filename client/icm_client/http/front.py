"""One of the scorers behind a client, and what is known of it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from icm_client.contract.errors import AccessError, BusyError, DeadlineError, IcmError, RequestError, UnavailableError
from icm_client.contract.wire import ModelInfo
from icm_client.http.exchange import Exchange
from icm_client.text.counts import seconds

FIRST_REST_S, MAX_REST_S = 5.0, 300.0
"""How long a scorer that is gone is left alone: twice as long each time, until it has done some work."""
SHORT_ANSWER_S = 10.0
"""How long one of several scorers may take to say whether it is ready, and which model it serves; more than a
connection may take."""


class Front:
    """One scorer. One that is `alone` never rests, is not compared with others, and errors need not name it."""

    def __init__(self, exchange: Exchange, clock: Callable[[], float], *, is_alone: bool):
        self.exchange, self.is_alone = exchange, is_alone
        self.model: ModelInfo | None = None
        """Its model, since it was last gone; None if it has to be compared again."""
        self.rests_until_s = self.failed_at_s = 0.0
        self._clock, self._rest_s, self._is_probed = clock, 0.0, False

    @property
    def url(self) -> str:
        return self.exchange.url

    @property
    def is_up(self) -> bool:
        """Whether it is not left alone now."""
        return self.rests_until_s <= self._clock()

    def weight(self, experiment: str) -> bytes:
        """The experiment goes to the scorer with the highest one (rendezvous hashing)."""
        return hashlib.blake2b(f"{self.url}\0{experiment}".encode(), digest_size=8).digest()

    def works(self) -> None:
        """It has done some work: when it is next gone, its rest is a short one."""
        self._rest_s = self.rests_until_s = 0.0

    def rest(self) -> None:
        """It is gone: leaves it alone for a while."""
        now_s = self.failed_at_s = self._clock()
        if self.is_up:  # of the requests that it had, the first counts
            self._rest_s = min(2 * self._rest_s or FIRST_REST_S, MAX_REST_S)
            self.rests_until_s = now_s + self._rest_s
        self.model = None  # it may come back with another

    def rest_anew(self) -> None:
        """Leaves it alone for the shortest time, however long it has been gone."""
        self.works()
        self.rest()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Leaves the scorer alone for a while after an UnavailableError, and names it in all errors."""
        try:
            yield
        except IcmError as error:
            found = self._found(error)
            if isinstance(found, UnavailableError):
                self.rest()
            if found is error:
                raise
            raise found from None

    def named(self, error: IcmError) -> IcmError:
        """The same error, whose message names this scorer if there are others."""
        if not self.is_alone and self.url not in error.message and not isinstance(error, DeadlineError):
            error.message = f"{self.url}: {error.message}"
            if isinstance(error, AccessError):
                error.message += " (scorers that are used together have to accept the same key)"
            error.args = (error.message,)
        return error

    async def ready(self) -> None:
        """Raises UnavailableError until the scorer has answered a real read, and RequestError if the server is an
        OpenAI-compatible one."""
        try:
            await self.exchange.ready()
        except IcmError as error:
            is_other = isinstance(error, AccessError) or error.code.startswith("http_")
            if is_other and not self._is_probed:
                self._is_probed = True
                if await self.exchange.is_openai():
                    raise RequestError(
                        f"{self.url} is an OpenAI-compatible server, not an icm-server: name it openai:{self.url} "
                        "(an OpenAIScorer in Python)",
                        code="other_server",
                    ) from None
            raise

    @asynccontextmanager
    async def within(self, limit_s: float) -> AsyncIterator[None]:
        """Raises UnavailableError if what is asked is not answered within `limit_s` seconds."""
        try:
            async with asyncio.timeout(limit_s):
                yield
        except TimeoutError:
            reason = f"no answer within {seconds(limit_s)}"
            raise UnavailableError(
                f"the scorer at {self.url} is not ready ({reason})",
                code="no_answer",
                details={"reason": reason},
            ) from None

    def _found(self, error: IcmError) -> IcmError:
        """The error as this scorer's. A page that no icm-server sends comes from a proxy whose scorer is gone, or from
        another server: others may answer."""
        is_page = error.code.startswith("http_") and not isinstance(error, BusyError | UnavailableError)
        if self.is_alone or not is_page or error.status == 413:
            return self.named(error)
        reason = f"{error.message}: does a proxy, or another server, answer there?"
        return UnavailableError(f"{self.url}: {reason}", code=error.code, details={"reason": reason})
