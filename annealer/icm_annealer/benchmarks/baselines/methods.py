"""The compared methods by name, in the order of the table. To add one, add a Method here, with a function for its
labels if no search finds them."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from icm_annealer.benchmarks.baselines.reference_labels import human_labels, with_noise
from icm_annealer.benchmarks.case import Case
from icm_annealer.benchmarks.search_presets import REFERENCE, find_compared
from icm_annealer.core.arrays import Ints
from icm_annealer.data.task import Task
from icm_annealer.evaluation.many_shot import random_labels
from icm_annealer.reporting.methods import TITLES
from icm_client.contract.errors import RequestError


class Offer(NamedTuple):
    """Optional inputs of a comparison that a method may need."""

    task: Task
    prefix: str = ""
    """A text at the start of every prompt, for one zero-shot method."""
    human: str | None = None
    """The field with people's labels."""
    has_known: bool = False
    """Whether some labels are known."""


class Need(NamedTuple):
    """A required input of a method."""

    what: str
    """Its description in errors."""
    is_met: Callable[[Offer], bool]


class Given(NamedTuple):
    """The inputs of labels that no search finds."""

    case: Case
    offer: Offer
    icm_labels: Ints | None
    """ICM's labels for the same seed, if known."""

    @property
    def num_wrong(self) -> int | None:
        """The number of wrong labels of ICM."""
        return None if self.icm_labels is None else int((self.icm_labels != self.case.gold).sum())


def _nothing(given: Given) -> dict[str, Any]:
    return {}


@dataclass(frozen=True)
class Method:
    """A method of labelling, or of zero-shot prompting."""

    name: str
    title: str
    search: str = ""
    """The compared search that finds its labels; empty where none does."""
    labels: Callable[[Given], Ints] | None = None
    """The function for its labels if no search finds them; -1 for an example without a label."""
    of: Callable[[Given], dict[str, Any]] = _nothing
    """Inputs of its labels besides the case, for its row."""
    is_usual: bool = True
    """Whether it takes part by default, if its need is met."""
    needs: Need | None = None
    after: str = ""
    """Another method that must take part, since this one's labels depend on it."""
    prompts_with_labels: bool = True
    """Whether its labels are shots for the test examples. If not, its labels are calibrated zero-shot predictions."""
    preamble: Callable[[Offer], str] = lambda offer: ""
    """The text at the start of every prompt."""

    @property
    def is_stopped(self) -> bool:
        """Whether it stops at ICM's token count."""
        return bool(self.search) and find_compared(self.search).kind.is_stopped

    @property
    def respects_rates(self) -> bool:
        """Whether stated label rates affect its labels, if a search finds them; True if none does."""
        return not self.search or find_compared(self.search).kind.respects_rates

    def takes_part(self, offer: Offer) -> bool:
        """Whether it takes part by default."""
        return self.is_usual if self.needs is None else self.needs.is_met(offer)


def _random(given: Given) -> Ints:
    return random_labels(given.case.num, len(given.case.task.labels), np.random.default_rng([given.case.seed, 1]))


def _noise(given: Given) -> Ints:
    assert given.num_wrong is not None  # it takes part only where ICM does, which comes first
    rng = np.random.default_rng([given.case.seed, 4])
    return with_noise(given.case.gold, given.num_wrong, len(given.case.task.labels), rng)


def _human(given: Given) -> Ints:
    assert given.offer.human is not None  # it takes part only where the field is named
    return human_labels(given.case.train, given.offer.human, given.case.task)


def _of_human(given: Given) -> dict[str, Any]:
    # Without the option, a saved row of human labels may still be read.
    return {"human": zlib.crc32(_human(given).tobytes()) if given.offer.human is not None else None}


ZERO_SHOT, RANDOM, ICM, HUMAN, GOLD = "zero_shot", "random_few_shot", "icm", "human", "gold"

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method(ZERO_SHOT, TITLES[ZERO_SHOT], "zero_shot", prompts_with_labels=False),
        Method(
            "zero_shot_prefix",
            "zero-shot prefix",
            "zero_shot",
            of=lambda given: {"prefix": zlib.crc32(given.offer.prefix.encode())},
            needs=Need("--prefix-file", lambda offer: bool(offer.prefix)),
            prompts_with_labels=False,
            preamble=lambda offer: offer.prefix,
        ),
        Method(RANDOM, TITLES[RANDOM], labels=_random),
        Method(
            "known_shots",
            "few-shot, known labels",
            "known_shots",
            needs=Need("known labels (--known, or in the task)", lambda offer: offer.has_known),
        ),
        Method("bootstrap", "bootstrapped", "bootstrap"),
        Method(
            "bootstrap_consistent",
            "bootstrapped, consistent",
            "bootstrap_consistent",
            needs=Need("a task with rules", lambda offer: bool(offer.task.rules)),
        ),
        Method("bootstrap_raw", "bootstrapped, raw", "bootstrap_raw", is_usual=False),
        Method("growing", "growing labels", "growing"),
        Method("joint", "joint inference", "joint"),
        Method("joint_raw", "joint inference, raw", "joint_raw", is_usual=False),
        Method("gibbs", "Gibbs", "gibbs"),
        Method("gibbs_raw", "Gibbs, raw", "gibbs_raw", is_usual=False),
        Method("official", "published", "official", is_usual=False),
        Method(ICM, TITLES[ICM], REFERENCE.name),
        Method(
            "noise",
            TITLES["noise"],
            labels=_noise,
            of=lambda given: {"num_wrong": given.num_wrong},
            after=ICM,
        ),
        Method(
            HUMAN,
            TITLES[HUMAN],
            labels=_human,
            of=_of_human,
            needs=Need("--human", lambda offer: offer.human is not None),
        ),
        Method(GOLD, TITLES[GOLD], labels=lambda given: given.case.gold),
    )
}


def chosen(names: Sequence[str], offer: Offer) -> list[Method]:
    """The named methods, or by default all usual methods whose need is met, in the order of the table.

    Raises RequestError for a method that cannot be run.
    """
    for name in names:
        if name not in METHODS:
            raise RequestError(f"no method {name!r}: choose of {', '.join(METHODS)}")
        method = METHODS[name]
        if method.needs and not method.needs.is_met(offer):
            raise RequestError(f"the method {name} needs {method.needs.what}")
        if method.after and method.after not in names:
            raise RequestError(f"the method {name} is made of the labels of {method.after}: name that as well")
    return [method for name, method in METHODS.items() if (name in names if names else method.takes_part(offer))]
