"""Weighted fair shares and the order of turns. Pure; a leaf.

Start-time fair queueing (Goyal, Vin and Cheng, 1996). The *service* of a share is the number of tokens that it has
received divided by its weight; the share with the least service is next. A share may itself be divided by a level below
it: a tenant's share among its experiments.

A share that returns after a pause is at most a burst behind the share whose turn it is: this is its savings. A new
share starts at the service of the share whose turn it is, so a new name for every request gains nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

MAX_IDLE = 1024
"""The most shares without work that a level remembers; the one idle for longest is forgotten first."""

W = TypeVar("W")


@dataclass(eq=False, slots=True)
class Share(Generic[W]):
    """One name's share of its level."""

    level: Level[W]
    name: str
    weight: float
    service: float
    waiting: int = 0
    """Queued tokens, as estimated."""
    works: list[W] = field(default_factory=list)
    """Its work in order, if the share is not divided."""
    below: Level[W] = field(default_factory=lambda: Level())
    """The level below, if the share is divided."""

    def charge(self, tokens: int) -> None:
        """Charges this many tokens; negative if fewer were computed than estimated."""
        self.service += tokens / self.weight

    def saved(self) -> float:
        """Tokens by which it is behind the share whose turn it is; negative if it is ahead."""
        return (self.level.start - self.service) * self.weight

    def has_savings(self) -> bool:
        """Whether all its queued work is within its savings."""
        return self.waiting <= self.saved() + 0.5

    def is_busy(self) -> bool:
        return bool(self.works or self.below.busy)


@dataclass(eq=False, slots=True)
class Level(Generic[W]):
    """All shares of one resource."""

    busy: dict[str, Share[W]] = field(default_factory=dict)
    """Shares with work."""
    idle: dict[str, Share[W]] = field(default_factory=dict)
    """Remembered shares without work, the one idle for longest first."""
    start: float = 0.0
    """The service of the share whose turn it is, at the start of its turn."""
    reached: float = 0.0
    """The current service of the share whose turn it is."""
    even: float = 0.0
    """The service at the last time when no share had work."""
    busy_weight: float = 0.0
    num_pauses: int = 0

    def join(self, name: str, weight: float, burst_tokens: int, num_pauses: int) -> Share[W]:
        """The share of this name, which has work from now on.

        `num_pauses` counts the times when no share had work; savings do not outlast such a pause.
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
        """The share has no more work."""
        del self.busy[share.name]
        self.busy_weight = self.busy_weight - share.weight if self.busy else 0.0
        self.idle[share.name] = share
        if len(self.idle) > MAX_IDLE:
            del self.idle[next(iter(self.idle))]

    def in_turn(self) -> list[Share[W]]:
        """The shares with work in order: those with savings first, then by service."""
        return sorted(self.busy.values(), key=lambda share: (not share.has_savings(), share.service))
