"""What a figure of the paper is made of: bars, claims about them, and the paper's result."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Literal

from icm_lab.reproduce.measures import MEASURES, SHOTS
from icm_lab.reproduce.methods import METHODS

REAL, SMALL, MEDIUM, LARGE = "smollm2-135m", "lab-small", "lab-medium", "lab-large"
MATCH = 0.05
"""The largest difference of two shares that match."""


@dataclass(frozen=True)
class MethodBar:
    """One share: a method's labels on a task, what is done with them, and the model."""

    model: str
    task: str
    method: str
    measure: str = SHOTS
    """A name of MEASURES: what the labels are used for, and what is counted."""

    @property
    def title(self) -> str:
        """The method, and what was done with its labels, for tables and plots."""
        return f"{METHODS[self.method].title}{MEASURES[self.measure].suffix}"

    @property
    def trains(self) -> bool:
        """Whether a model is tuned for it."""
        return METHODS[self.method].trains or MEASURES[self.measure].trains

    def __str__(self) -> str:
        return f"{self.model} {self.task} {self.method}{MEASURES[self.measure].suffix}"


@dataclass(frozen=True)
class Claim:
    """`first` is higher than `second`, or matches it."""

    first: MethodBar
    relation: Literal["higher", "matches"]
    second: MethodBar | float
    """A bar of the same task, or a fixed share such as chance."""

    def __str__(self) -> str:
        first, second = self.first, self.second
        relation = "higher than" if self.relation == "higher" else "matches"
        if not isinstance(second, MethodBar):
            return f"{first.task}, {first.model}: {first.title} {relation} {second}"
        if first.model == second.model:
            return f"{first.task}, {first.model}: {first.title} {relation} {second.title}"
        one, other = (f"{bar.title} on {bar.model}" for bar in (first, second))
        return f"{first.task}: {one} {relation} {other}"


def beats(task: str, model: str, other: str, method: str = "icm", measure: str = SHOTS) -> Claim:
    """A method's labels are better than another's."""
    return Claim(MethodBar(model, task, method, measure), "higher", MethodBar(model, task, other, measure))


def matches(task: str, model: str, other: str, method: str = "icm", measure: str = SHOTS) -> Claim:
    """A method's labels are as good as another's."""
    return Claim(MethodBar(model, task, method, measure), "matches", MethodBar(model, task, other, measure))


@dataclass(frozen=True)
class Figure:
    """One figure of the paper, or a part of it."""

    name: str
    """The paper's number, and behind a hyphen the part."""
    title: str
    paper: str
    """The paper's result."""
    claims: tuple[Claim, ...]
    shown: tuple[MethodBar, ...] = ()
    """Bars that are shown beside those of the claims."""
    cost: str = ""
    """About how long it takes alone, in the laboratory; empty for those of which all together take half an hour."""

    @property
    def number(self) -> str:
        """The paper's."""
        return self.name.partition("-")[0]

    @property
    def bars(self) -> list[MethodBar]:
        """All bars, each once."""
        claimed = [bar for claim in self.claims for bar in (claim.first, claim.second) if isinstance(bar, MethodBar)]
        return list(dict.fromkeys([*self.shown, *claimed]))

    @property
    def trains(self) -> bool:
        """Whether models are tuned for it."""
        return any(bar.trains for bar in self.bars)

    def on(self, models: Collection[str]) -> Figure:
        """Only the claims and bars of these models."""

        def is_on(bar: MethodBar | float) -> bool:
            return not isinstance(bar, MethodBar) or bar.model in models

        claims = tuple(claim for claim in self.claims if is_on(claim.first) and is_on(claim.second))
        return replace(self, claims=claims, shown=tuple(bar for bar in self.shown if is_on(bar)))
