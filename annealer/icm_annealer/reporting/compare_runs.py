"""Differences between runs, and the agreement of their labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from icm_annealer.runs.record import RunRecord

U_DEPENDS_ON = {
    "task": "task",
    "data": "data",
    "model": "model",
    "window": "context window",
    "settings.plan": "plan",
    "settings.measure": "measure",
    "settings.alpha": "alpha",
    "settings.search": "search",
}
"""Fields that must be equal for U to be comparable between runs, with their names in messages."""
MAX_VALUE = 120
"""Characters of a value that the page shows."""


class ComparedRuns(NamedTuple):
    """One run, with its labels by id; empty if they are several searches', or not yet there."""

    name: str
    record: RunRecord
    labels: dict[str, str]


class Difference(NamedTuple):
    """A part of the settings, task, model or data that is not the same in all runs."""

    what: str
    values: list[str]
    u_part: str | None
    """The name of the field if U depends on it, else None."""


class Alike(NamedTuple):
    """How many examples a pair of runs have in common, and the share of them that have the same label."""

    num: int
    share: float


def differences(runs: Sequence[ComparedRuns]) -> list[Difference]:
    """Everything that differs, in the order of the journals' first lines."""
    flat = [_flat(run.record) for run in runs]
    keys = dict.fromkeys(key for one in flat for key in one)
    return [
        Difference(key, [str(one.get(key, "-"))[:MAX_VALUE] for one in flat], _u_part(key))
        for key in keys
        if len({str(one.get(key, "-")) for one in flat}) > 1
    ]


def alike(runs: Sequence[ComparedRuns]) -> list[list[Alike | None]]:
    """For each pair of runs; None where they have no example or not all label names in common. Empty if no pair has."""
    pairs = [[_alike(one, other) for other in runs] for one in runs]
    known = [pair for i, row in enumerate(pairs) for j, pair in enumerate(row) if i != j and pair is not None]
    return pairs if known else []


def _alike(one: ComparedRuns, other: ComparedRuns) -> Alike | None:
    shared = [name for name in one.labels if name in other.labels]
    if not shared or one.record.task.label_names != other.record.task.label_names:
        return None
    return Alike(len(shared), sum(one.labels[name] == other.labels[name] for name in shared) / len(shared))


def _u_part(key: str) -> str | None:
    return next((name for part, name in U_DEPENDS_ON.items() if key == part or key.startswith(f"{part}.")), None)


def _flat(record: RunRecord) -> dict[str, str]:
    parts: dict[str, Any] = {
        "task": record.task.seen(),
        "settings": record.header.settings.model_dump(),
        "model": record.header.model.model_dump(),
        "window": record.header.window.model_dump(),
        "data": record.header.data,
        "examples": len(record.ids),
        "known labels": len(record.header.known or ()),
        "start labels": len(record.header.start or ()),
    }
    return dict(_leaves(parts))


def _leaves(value: Any, name: str = "") -> list[tuple[str, str]]:
    if not isinstance(value, dict):
        return [(name, str(value))]
    return [leaf for key, inner in value.items() for leaf in _leaves(inner, f"{name}.{key}" if name else str(key))]
