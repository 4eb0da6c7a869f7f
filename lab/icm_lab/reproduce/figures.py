"""The paper's figures: their claims, the comparisons that test these, and the paper's results. Data only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from icm_annealer.reporting.methods import TITLES as METHOD_TITLES

REAL, SMALL, LARGE = "smollm2-135m", "lab-small", "lab-large"
SIZES = (SMALL, "lab-medium", LARGE)
NUM, NUM_TEST, MATCH = 96, 96, 0.05
"""The numbers of examples to label and to test on, and the largest difference of two accuracies that match."""


TITLES = METHOD_TITLES | {
    "icm_without_rules": "ICM without rules",
    "published": "Algorithm 1",
    "published_without_rules": "Algorithm 1 without rules",
    "from_gold": "right start",
    "from_random": "random start",
    "from_wrong": "wrong start",
}
"""The methods' names in tables and plots."""


@dataclass(frozen=True)
class MethodBar:
    """One accuracy: a method on a task with a model."""

    model: str
    task: str
    method: str

    def __str__(self) -> str:
        return f"{self.model} {self.task} {self.method}"


@dataclass(frozen=True)
class Claim:
    """`first` is higher than `second`, or matches it."""

    first: MethodBar
    relation: Literal["higher", "matches"]
    second: MethodBar | float
    """A bar of the same task, or a fixed accuracy such as chance."""

    def __str__(self) -> str:
        first, second = self.first, self.second
        relation = "higher than" if self.relation == "higher" else "matches"
        if not isinstance(second, MethodBar):
            return f"{first.task}, {first.model}: {TITLES[first.method]} {relation} {second}"
        if first.model == second.model:
            return f"{first.task}, {first.model}: {TITLES[first.method]} {relation} {TITLES[second.method]}"
        one, other = (f"{TITLES[bar.method]} on {bar.model}" for bar in (first, second))
        return f"{first.task}: {one} {relation} {other}"


@dataclass(frozen=True)
class Figure:
    """One figure of the paper."""

    number: str
    title: str
    paper: str
    """The paper's result."""
    claims: tuple[Claim, ...]
    shown: tuple[MethodBar, ...] = ()
    """Bars that are shown beside those of the claims."""
    measure: Literal["test", "labels"] = "test"
    """Test accuracy of prompting with the labels, or the share of labels that are right."""

    @property
    def bars(self) -> list[MethodBar]:
        """All bars, each once."""
        claimed = [bar for claim in self.claims for bar in (claim.first, claim.second) if isinstance(bar, MethodBar)]
        return list(dict.fromkeys([*self.shown, *claimed]))


def _beats(task: str, model: str, other: str, method: str = "icm") -> Claim:
    return Claim(MethodBar(model, task, method), "higher", MethodBar(model, task, other))


def _matches(task: str, model: str, other: str, method: str = "icm") -> Claim:
    return Claim(MethodBar(model, task, method), "matches", MethodBar(model, task, other))


ELICITED = (
    ("living", REAL),
    ("lab-arithmetic", LARGE),
    ("lab-misconceptions", LARGE),
    ("lab-preferences", LARGE),
)
"""Tasks with the models that have learnt their concepts."""

FIGURES = (
    Figure(
        "3",
        "ICM beats zero-shot prompting and matches gold labels",
        "GSM8K 81 against 48 zero-shot, 81 gold (8B); TruthfulQA 91, 60, 92; Alpaca 68, 50, 66 human (70B).",
        tuple(
            claim
            for task, model in ELICITED
            for claim in (_beats(task, model, "zero_shot"), _matches(task, model, "gold"))
        ),
        tuple(
            MethodBar(model, task, method)
            for task, model in ELICITED
            for method in ("zero_shot", "random_few_shot", "icm", "gold")
        ),
    ),
    Figure(
        "4",
        "Larger models are elicited better",
        "The gap to gold labels closes from 8B to 70B.",
        tuple(
            Claim(MethodBar(LARGE, task, "icm"), "higher", MethodBar(SMALL, task, "icm"))
            for task in ("lab-arithmetic", "lab-misconceptions")
        ),
        tuple(
            MethodBar(model, task, method)
            for task in ("lab-arithmetic", "lab-misconceptions")
            for model in SIZES
            for method in ("icm", "gold")
        ),
    ),
    Figure(
        "5",
        "A concept that is not salient is not found",
        "Poems preferred for the word sun: at chance.",
        (Claim(MethodBar(LARGE, "lab-not-salient", "icm"), "matches", 0.5),),
        tuple(MethodBar(LARGE, "lab-not-salient", method) for method in ("zero_shot", "icm", "gold")),
    ),
    Figure(
        "6",
        "ICM elicits what the model knows better than people",
        "Gender of authors: about 80, as with gold labels; people 60.",
        (_beats("lab-superhuman", LARGE, "human"), _matches("lab-superhuman", LARGE, "gold")),
        tuple(MethodBar(LARGE, "lab-superhuman", method) for method in ("zero_shot", "human", "icm", "gold")),
    ),
    Figure(
        "8",
        "ICM's labels beat equally accurate ones whose mistakes are random",
        "Higher on all tasks.",
        tuple(_beats(task, REAL, "noise") for task in ("living", "names")),
    ),
    Figure(
        "9",
        "The start matters little",
        "Golden, random and worst starts end close to each other.",
        tuple(
            _matches(task, model, "from_gold", method)
            for task, model in (("living", REAL), ("lab-arithmetic", LARGE))
            for method in ("from_random", "from_wrong")
        ),
        measure="labels",
    ),
    Figure(
        "10",
        "Consistency rules are needed",
        "Alpaca without the rule: labels almost always all alike.",
        (
            _beats("edible-pairs", REAL, "icm_without_rules"),
            # The larger models know for certain which is better, and need no rule to say so.
            _beats("lab-preferences", SMALL, "published_without_rules", "published"),
            _beats("lab-preferences", SMALL, "icm_without_rules"),
        ),
        tuple(MethodBar(LARGE, "lab-preferences", method) for method in ("icm", "icm_without_rules")),
        measure="labels",
    ),
)
