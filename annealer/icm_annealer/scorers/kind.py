"""The base class of scorer kinds, and the options for opening a scorer. A leaf of this room."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from icm_annealer.scoring.passes import Scorer
from icm_client.http.retry import RetryPolicy

WAIT_S, UNREACHABLE_S = 300.0, 5.0
DEFAULT_ENGINE = "vllm"


def ignore(text: str) -> None:
    """A callback that does nothing."""


def _no_key() -> str | None:
    return None


@dataclass(frozen=True)
class Opening:
    """Options for opening a scorer."""

    read_key: Callable[[], str | None] = _no_key
    """Returns the scorer's API key. Called only by kinds that send one."""
    model: str | None = None
    """The model's name, for an endpoint that serves several."""
    engine: str = DEFAULT_ENGINE
    """The engine of a scorer started by this process."""
    wait_s: float | None = None
    """Seconds to wait for a scorer that is unreachable or not ready; None is WAIT_S, but UNREACHABLE_S as long as no
    connection is accepted."""
    log: Path | None = None
    """The log file of a scorer started by this process."""
    status: Callable[[str], None] = ignore
    """Called with a description of the current wait."""
    note: Callable[[str], None] = ignore
    """Called with messages for the user, such as a limit of the endpoint."""

    @property
    def retry(self) -> RetryPolicy:
        """Raises RequestError if `wait_s` is not a number of seconds."""
        if self.wait_s is None:
            return RetryPolicy(patience_s=WAIT_S, unreachable_s=UNREACHABLE_S)
        return RetryPolicy(patience_s=self.wait_s, unreachable_s=self.wait_s)

    def on_wait(self, reason: str, seconds: float) -> None:
        """Passes `reason` on to `status`."""
        self.status(f"waiting for the scorer: {reason}")


@dataclass(frozen=True)
class ScorerKind:
    """The base class of scorer kinds. `address` is the part of the scorer's name after `KIND:`."""

    help: str
    """One line on the name and meaning of such a scorer, for `--help` and errors: "`local:MODEL` starts ..."."""
    takes_model: ClassVar[bool] = False
    """Whether `Opening.model` may be given."""
    takes_engine: ClassVar[bool] = False
    """Whether `Opening.engine` may be given."""
    starts_here: ClassVar[bool] = False
    """Whether opening it starts a model on this machine, which may have room for one at a time."""

    def check(self, address: str, opening: Opening) -> None:
        """Raises RequestError if the scorer cannot be used. Starts nothing and sends nothing."""

    def open(self, address: str, opening: Opening) -> AbstractAsyncContextManager[Scorer]:
        """A context manager for a ready scorer, which it closes. Raises IcmError."""
        raise NotImplementedError
