"""Shares of something, by weight: whose turn it is. Pure; a leaf.

Start-time fair queueing (Goyal, Vin and Cheng, 1996). A share's *service* is the tokens that it has had over its
weight, and the one with the least is next. A share may itself be shared out, by the level below it: a key's among its
experiments.

Whoever comes back is at most a burst behind the one whose turn it is: so much is saved up. Whoever has never been
seen begins where the one whose turn it is has got to, so a fresh name for every request gains nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

MAX_IDLE = 1024
"""Shares without work that a level knows by name; those idle for longest are forgotten."""

W = TypeVar("W")


@dataclass(eq=False, slots=True)
class Share(Generic[W]):
    """One name's part of its level."""

    level: Level[W]
    name: str
    weight: float
    service: float
    waiting: int = 0
    """Tokens of its work that wait, as estimated."""
    works: list[W] = field(default_factory=list)
    """Its work in its order, where it is not shared out again."""
    below: Level[W] = field(default_factory=lambda: Level())
    """Those among whom it is, where it is."""

    def charge(self, tokens: int) -> None:
        """It has had so many; fewer than estimated if negative."""
        self.service += tokens / self.weight

    def saved(self) -> float:
        """Tokens by which it is behind the one whose turn it is; negative if it is ahead."""
        return (self.level.start - self.service) * self.weight

    def has_savings(self) -> bool:
        """Whether all that it has waiting is no more than it has saved up."""
        return self.waiting <= self.saved() + 0.5

    def is_busy(self) -> bool:
        return bool(self.works or self.below.busy)


@dataclass(eq=False, slots=True)
class Level(Generic[W]):
    """All who share one thing."""

    busy: dict[str, Share[W]] = field(default_factory=dict)
    """Those with work."""
    idle: dict[str, Share[W]] = field(default_factory=dict)
    """Those that have been seen, the one idle for longest first."""
    start: float = 0.0
    """The service of the one whose turn it is, when its turn came."""
    reached: float = 0.0
    """The service that the one whose turn it is has got to."""
    even: float = 0.0
    """The service of all when nobody had work."""
    busy_weight: float = 0.0
    num_pauses: int = 0

    def join(self, name: str, weight: float, burst_tokens: int, num_pauses: int) -> Share[W]:
        """The name's share, which has work from now on.

        `num_pauses` counts the times at which nobody had any: nobody is behind then.
        """
        if num_pauses != self.num_pauses:
            self.num_pauses, self.start, self.even = num_pauses, self.reached, self.reached
        share = self.busy.get(name)
        if share is None:
            share = self.idle.pop(name, None)
            if share is None:
                share = Share(self, name, weight, self.reached)
            else:
                share.service = max(share.service, self.even, self.start - burst_tokens / weight)
            self.busy[name] = share
        else:
            self.busy_weight -= share.weight
        share.weight = weight
        self.busy_weight += weight
        return share

    def leave(self, share: Share[W]) -> None:
        """It has no more work."""
        del self.busy[share.name]
        self.busy_weight = self.busy_weight - share.weight if self.busy else 0.0
        self.idle[share.name] = share
        if len(self.idle) > MAX_IDLE:
            del self.idle[next(iter(self.idle))]

    def in_turn(self) -> list[Share[W]]:
        """Those with work, the next one first: with savings before all others, then by service."""
        return sorted(self.busy.values(), key=lambda share: (not share.has_savings(), share.service))
