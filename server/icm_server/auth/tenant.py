"""Tenants: the holders of API keys, and what they may do. A leaf."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Annotated, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from icm_client.contract.wire import MAX_PRIORITY

Pattern = Annotated[str, Field(min_length=1, max_length=256)]
"""A name in which `*` stands for any characters."""


class ExperimentId(NamedTuple):
    """An experiment of one tenant. Experiments of the same name under two tenants are different."""

    tenant: str
    experiment: str


class Tenant(BaseModel):
    """The holder of a key."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=100, pattern=r"^[\w.:@/+-]+$")
    """Also the name of an experiment that it may always run."""
    experiments: tuple[Pattern, ...] = ()
    """Patterns of other experiments that it may run; by default, those that begin with its name and a hyphen."""
    adapters: tuple[Pattern, ...] = ("*",)
    """Patterns of adapters for all keys that it may use; it may always use the base model and its own adapters."""
    weight: float = Field(default=1.0, gt=0, le=1000, allow_inf_nan=False)
    """Its share of the engine relative to other tenants, whatever the number of its experiments."""
    max_priority: int = Field(default=0, ge=-MAX_PRIORITY, le=MAX_PRIORITY)
    """The highest priority that its requests may have."""
    max_queued_tokens: int | None = Field(default=None, ge=1)
    """The most tokens of its work that may be queued or running, a shared prefix counted once; None: only the scorer's
    limit applies."""
    admin: bool = False
    """True: it sees the work of all tenants on `/v1/experiments`, its page and `/metrics`, otherwise only its own; and
    it may put adapters for all keys."""
    isolated: bool = False
    """True: it shares neither results in the read cache nor prefixes in the engine's cache with other tenants."""

    _one_of: int = PrivateAttr(default=1)

    def part(self, one_of: int) -> Tenant:
        """The tenant as one of `one_of` scorers knows it, so that all of them together hold to its limits. Its weight
        is relative, and stays."""
        if self.max_queued_tokens is None:
            return self
        part = self.model_copy(update={"max_queued_tokens": max(1, self.max_queued_tokens // one_of)})
        part._one_of = one_of
        return part

    @property
    def limit_text(self) -> str:
        """What `max_queued_tokens` is, for refusals: the key's limit, or one scorer's part of it."""
        if self._one_of == 1:
            return "this API key's limit"
        return f"this API key's limit divided among {self._one_of} scorers"

    def may_run(self, experiment: str) -> bool:
        """Whether it may run the experiment."""
        patterns = self.experiments or (f"{self.name}-*",)
        return experiment == self.name or any(fnmatchcase(experiment, pattern) for pattern in patterns)

    def may_use(self, model: str) -> bool:
        """Whether it may use `base`, or the adapter of that name for all keys."""
        return model == "base" or any(fnmatchcase(model, pattern) for pattern in self.adapters)


ANYONE = Tenant(name="anyone", experiments=("*",), max_priority=MAX_PRIORITY, admin=True)
"""The only tenant of a scorer without keys."""
