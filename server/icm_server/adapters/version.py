"""One content of an adapter under one name, and the reads that use it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from icm_client.contract.adapters import AdapterInfo
from icm_server.adapters.check import CheckedAdapter

BASE_KEY = "base"
NO_ADAPTER = CheckedAdapter("", 0, 0, 0)


def nothing() -> None:
    """A callback that does nothing."""


@dataclass(eq=False, slots=True)
class Version:
    """What a request is answered by, from its beginning to its end, whatever happens to the name meanwhile."""

    key: str
    """Its name in the engine."""
    digest: str = ""
    """Of its content; empty for the base model."""
    name: str = BASE_KEY
    owner: str | None = None
    """The tenant that put it; None if it is for all keys."""
    checked: CheckedAdapter = NO_ADAPTER
    folder: Path | None = None
    """Where its files are, if they are the scorer's own and go with it."""
    holders: int = 0
    """Requests and reads that use it."""
    reads: int = 0
    """Reads that the engine was asked for."""
    on_idle: Callable[[], None] = field(default=nothing)
    """Called when nothing uses it any more, once it is retired."""
    is_retired: bool = False

    @property
    def info(self) -> AdapterInfo:
        """Its description for its users."""
        return AdapterInfo(
            name=self.name,
            digest=self.digest,
            rank=self.checked.rank,
            num_modules=self.checked.num_modules,
            num_bytes=self.checked.num_bytes,
            shared=self.owner is None,
            fixed=self.folder is None,
            reads=self.reads,
        )

    def hold(self) -> None:
        """Begins a use."""
        self.holders += 1

    def release(self) -> None:
        """Ends a use."""
        self.holders -= 1
        self._look()

    def retire(self) -> None:
        """Its name is gone; running requests end with it."""
        self.is_retired = True
        self._look()

    def _look(self) -> None:
        if self.is_retired and not self.holders:
            self.on_idle()
            self.on_idle = nothing
