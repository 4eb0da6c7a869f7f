"""The way of one request through several scorers, and that of one change to all of them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from typing import TypeVar

import pydantic

from icm_client.contract.errors import BusyError, IcmError, RequestError, UnavailableError
from icm_client.contract.wire import ScoreRequest
from icm_client.http.exchange import Exchange
from icm_client.http.front import Front
from icm_client.http.stream import StreamedLine

_Model = TypeVar("_Model", bound=pydantic.BaseModel)


class Route:
    """Sends one request to its experiment's scorer, and after each UnavailableError to the next one, until all were
    asked; then to whichever may have come back. It repeats nothing by itself.

    The error says by `others_left` whether the next attempt goes to one that was not asked since the last progress, or
    since one was full.
    """

    def __init__(
        self,
        fronts: Sequence[Front],
        check: Callable[[Front], Awaitable[None]],
        experiment: str,
        home: Front | None = None,
    ):
        """`check` raises an error for a scorer that cannot be used together with the others. `home` is the scorer to
        ask first; None is the experiment's."""
        self._fronts, self._check, self._experiment, self._home = fronts, check, experiment, home
        self._failed: dict[Front, UnavailableError] = {}
        self._front = fronts[0]

    async def ask(self, answer: type[_Model], path: str, body: pydantic.BaseModel | None = None) -> _Model:
        """As Exchange.ask."""
        with self._attempt() as front:
            await self._check(front)
            found = await front.exchange.ask(answer, path, body)
        self.progressed()
        return found

    async def lines(self, request: ScoreRequest) -> AsyncGenerator[StreamedLine]:
        """As Exchange.lines. Call `progressed` when rows have come."""
        with self._attempt() as front:
            await self._check(front)
            async with aclosing(front.exchange.lines(request)) as lines:
                async for line in lines:
                    yield line

    def progressed(self) -> None:
        """Part of the answer has arrived: after the next failure, all others may be asked again."""
        self._failed.clear()
        self._front.works()

    def named(self, error: IcmError) -> IcmError:
        """The same error; of several scorers, its message names the one that was asked last."""
        return self._front.named(error)

    @contextmanager
    def _attempt(self) -> Iterator[Front]:
        self._front = front = self._choose()
        try:
            with front.watched():
                yield front
        except BusyError:
            self._failed.clear()  # while this one is full, another may come back
            raise
        except UnavailableError as error:
            self._failed[front] = error
            error.others_left = len(self._failed) < len(self._fronts)
            if any(other.is_up for other in self._fronts):
                error.retry_after_s = None  # another one is asked without the wait that this one names
            if len(self._fronts) > 1 and not error.others_left:
                raise none_answers(self._failed, error.retry_after_s) from None
            raise

    def _choose(self) -> Front:
        """Of those that have not failed and are not gone, the home, or else the experiment's first choice; if all are
        gone, the one that failed first."""
        left = [front for front in self._fronts if front not in self._failed] or self._fronts
        up = [front for front in left if front.is_up]
        if not up:
            return min(left, key=lambda front: front.failed_at_s)
        return max(up, key=lambda front: (front is self._home, front.weight(self._experiment)))


class Change:
    """One change that is made on all scorers: when it is repeated, only where it was not made yet."""

    def __init__(self, fronts: Sequence[Front], *, absent: str | None = None):
        """`absent`: the code of the RequestError with which a scorer says that there is nothing to change on it, which
        is an error only if all say so."""
        self._fronts, self._absent = fronts, absent
        self._made: dict[Front, pydantic.BaseModel | None] = {}
        self._nothing: RequestError | None = None

    async def make(self, answer: type[_Model], change: Callable[[Exchange], Awaitable[_Model]]) -> _Model:
        """The answer of the first scorer, when all have answered. Raises the error of the first that has not."""
        wrong: IcmError | None = None
        for front in self._fronts:
            if front not in self._made:
                try:
                    with front.watched():
                        self._made[front] = await change(front.exchange)
                except IcmError as error:
                    if isinstance(error, RequestError) and error.code == self._absent:
                        self._made[front], self._nothing = None, error
                    else:
                        wrong = wrong or error
        found = next((made for made in self._made.values() if isinstance(made, answer)), None)
        if wrong is not None:
            if found is not None:
                done = ", ".join(front.url for front, made in self._made.items() if made is not None)
                wrong.message += f" (done on {done}; the same call again does the rest)"
                wrong.args = (wrong.message,)
            raise wrong
        if found is None:
            assert self._nothing is not None  # all have said that there is nothing
            raise self._nothing
        return found


def none_answers(failed: dict[Front, UnavailableError], retry_after_s: float | None = None) -> UnavailableError:
    """The error of several scorers that are all gone: it names each, and why."""
    whys = [f"{front.url}: {_reason(error)}" for front, error in failed.items()]
    reason = "; ".join(whys)
    details: dict[str, object] = {"reason": reason}
    if all(error.details.get("is_connected") is False for error in failed.values()):
        details["is_connected"] = False
    last = list(failed.values())[-1]
    return UnavailableError(
        f"none of {len(failed)} scorers answers ({reason}). Start one with `icm-server serve`, or check the addresses.",
        code=last.code,
        details=details,
        retry_after_s=retry_after_s,
    )


def _reason(error: UnavailableError) -> str:
    given = error.details.get("reason")  # a proxy or scorer may send anything
    return given if isinstance(given, str) and given.isprintable() else error.message
