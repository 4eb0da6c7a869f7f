"""Whose work it is, and what may be done in that name. A leaf."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Annotated, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from icm_client.contract.wire import MAX_PRIORITY

Pattern = Annotated[str, Field(min_length=1, max_length=256)]
"""A name in which `*` stands for any characters."""


class Asker(NamedTuple):
    """In whose name work is asked for: an experiment of one key is another than one of the same name of another key."""

    key: str
    """Its holder's name."""
    experiment: str


class Tenant(BaseModel):
    """The holder of a key."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=100, pattern=r"^[\w.:@/+-]+$")
    """Also the name of an experiment that is always its own."""
    experiments: tuple[Pattern, ...] = ()
    """Patterns of more experiments that it may run; none at all: whatever begins with the name and a hyphen."""
    adapters: tuple[Pattern, ...] = ("*",)
    """Patterns of adapters that it may use; the base model it always may."""
    weight: float = Field(default=1.0, gt=0, le=1000, allow_inf_nan=False)
    """Its share of the engine, whatever the number of its experiments, relative to other keys'."""
    max_priority: int = Field(default=0, ge=-MAX_PRIORITY, le=MAX_PRIORITY)
    """The highest priority that its requests may have: what has a higher one goes before everybody else's."""
    max_queued_tokens: int | None = Field(default=None, ge=1)
    """The most tokens of its work that may wait or be under way, a shared prefix counted once; None: the scorer's own
    limit alone."""
    admin: bool = False
    """True: it sees who else uses the scorer, on `/v1/experiments`, its page and `/metrics`; else only its own work."""
    isolated: bool = False
    """True: its finished work, and what the engine's cache holds of it, is neither taken from others' nor given to
    them."""

    def may_run(self, experiment: str) -> bool:
        """Whether it may ask for work in the experiment's name."""
        patterns = self.experiments or (f"{self.name}-*",)
        return experiment == self.name or any(fnmatchcase(experiment, pattern) for pattern in patterns)

    def may_use(self, model: str) -> bool:
        """Whether it may ask `base` or the adapter of that name."""
        return model == "base" or any(fnmatchcase(model, pattern) for pattern in self.adapters)


ANYONE = Tenant(name="anyone", experiments=("*",), max_priority=MAX_PRIORITY, admin=True)
"""Who asks a scorer that has no keys."""
