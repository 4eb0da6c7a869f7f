"""A kind of scorer, and what is said about a scorer besides its name. A leaf of this room."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from icm_annealer.scoring.passes import Scorer
from icm_client.http.retry import RetryPolicy


def ignore(text: str) -> None:
    """A listener that shows nothing."""


def _no_key() -> str | None:
    return None


@dataclass(frozen=True)
class Opening:
    """How a scorer is opened."""

    read_key: Callable[[], str | None] = _no_key
    """Returns the scorer's API key. Called only by kinds that send one."""
    model: str | None = None
    """The model's name at an endpoint that serves several."""
    engine: str = "vllm"
    """The engine of a scorer that is started here."""
    wait_s: float = 300.0
    """Seconds to wait for a scorer that is unreachable or not ready."""
    log: Path | None = None
    """The file for the output of a scorer that is started here."""
    status: Callable[[str], None] = ignore
    """Called with what is being waited for."""
    note: Callable[[str], None] = ignore
    """Called with what a person should read, such as a limit of the endpoint."""

    @property
    def retry(self) -> RetryPolicy:
        """Raises RequestError if `wait_s` is not a number of seconds."""
        return RetryPolicy(patience_s=self.wait_s)

    def on_wait(self, reason: str, seconds: float) -> None:
        """Passes `reason` on to `status`."""
        self.status(f"waiting for the scorer: {reason}")


@dataclass(frozen=True)
class ScorerKind:
    """One kind of scorer; make a subclass. `address` is what follows `KIND:` in the scorer's name."""

    help: str
    """How such a scorer is named and what it is, for `--help` and for errors: "`local:MODEL` starts ..."."""
    takes_model: ClassVar[bool] = False
    """Whether `Opening.model` may be given."""

    def check(self, address: str, opening: Opening) -> None:
        """Raises RequestError for a scorer that cannot be used; starts nothing and sends nothing."""

    def open(self, address: str, opening: Opening) -> AbstractAsyncContextManager[Scorer]:
        """A scorer that is ready, closed with the context. Raises IcmError."""
        raise NotImplementedError
