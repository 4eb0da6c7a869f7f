"""What is compared: methods by name, in the order of the table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from icm_annealer.benchmarks.search_presets import OFFICIAL, OURS, STOPPED
from icm_annealer.data.task import Task
from icm_annealer.reporting.methods import TITLES
from icm_client.contract.errors import RequestError


class Method(NamedTuple):
    """One way to come by labels, or to do without."""

    name: str
    title: str
    search: str = ""
    """The contestant that finds its labels; empty where no search does."""
    is_usual: bool = True
    """Whether it takes part where no methods are named."""

    @property
    def is_stopped(self) -> bool:
        """Whether it ends at ICM's tokens."""
        return self.search in STOPPED


ZERO_SHOT, PREFIXED, RANDOM, ICM, NOISE, HUMAN, GOLD = (
    *("zero_shot", "zero_shot_prefix", "random_few_shot"),
    *("icm", "noise", "human", "gold"),
)
CONSISTENT = "bootstrap_consistent"

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method(ZERO_SHOT, TITLES[ZERO_SHOT], "zero_shot"),
        Method(PREFIXED, "zero-shot prefix", "zero_shot", is_usual=False),
        Method(RANDOM, TITLES[RANDOM]),
        Method("bootstrap", "bootstrapped", "bootstrap"),
        Method(CONSISTENT, "bootstrapped, consistent", "bootstrap_consistent", is_usual=False),
        Method("bootstrap_raw", "bootstrapped, raw", "bootstrap_raw", is_usual=False),
        Method("growing", "growing labels", "growing"),
        Method("joint", "joint inference", "joint"),
        Method("joint_raw", "joint inference, raw", "joint_raw", is_usual=False),
        Method("gibbs", "Gibbs", "gibbs"),
        Method("gibbs_raw", "Gibbs, raw", "gibbs_raw", is_usual=False),
        Method("official", "published", OFFICIAL, is_usual=False),
        Method(ICM, TITLES[ICM], OURS),
        Method(NOISE, TITLES[NOISE]),
        Method(HUMAN, TITLES[HUMAN], is_usual=False),
        Method(GOLD, TITLES[GOLD]),
    )
}


def chosen(names: Sequence[str], task: Task, *, has_prefix: bool, has_human: bool) -> list[Method]:
    """The methods named, or if none is all usual ones, with those that rules, a prefix or human labels allow.

    In the order of the table. Raises RequestError for what cannot be run.
    """
    allowed = {PREFIXED: has_prefix, HUMAN: has_human, CONSISTENT: bool(task.rules)}
    missing = {PREFIXED: "--prefix-file", HUMAN: "--human", CONSISTENT: "a task with rules"}
    for name in names:
        if name not in METHODS:
            raise RequestError(f"no method {name!r}: it is one of {', '.join(METHODS)}")
        if not allowed.get(name, True):
            raise RequestError(f"the method {name} needs {missing[name]}")
    if NOISE in names and ICM not in names:
        raise RequestError("noise is made as accurate as ICM's labels: name icm as well")
    wanted = set(names) or {name for name, method in METHODS.items() if allowed.get(name, method.is_usual)}
    return [method for name, method in METHODS.items() if name in wanted]
