"""Converts lines of a run's files to a tracker's parameters and metrics. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from icm_annealer.data.rates import rates_text
from icm_annealer.runs.schema.journal import PassLine, RunHeader
from icm_annealer.runs.schema.metrics import RunMetrics
from icm_annealer.runs.schema.rows import CostLine

OF_A_PASS = {
    "u": "u",
    "predictability": "predictability",
    "num_contradictions": "contradictions",
    "temperature": "temperature",
}
"""Field of a pass -> the name of its curve."""
OF_A_COST = ("seconds", "prompt_tokens", "computed_tokens", "cached_tokens")


class TrackedStep(NamedTuple):
    """Figures of one pass; its number is the step."""

    number: int
    metrics: dict[str, float]


def params_of(header: RunHeader) -> dict[str, str]:
    """A run's settings, model and data, each by a dotted name."""
    chosen = {
        "task": header.task.name,
        "data": header.data,
        "num_examples": len(header.ids),
        "num_known": len(header.known or ()),
        "rates": rates_text(header.task.rates),
        "scorer": header.model.model_dump(),
        **header.settings.model_dump(),
    }
    return dict(_flat("", chosen))


def pass_step(line: PassLine) -> TrackedStep:
    """Figures of a chain have its name, so that each is a curve."""
    what = line.request.purpose.replace(" ", "_")
    return TrackedStep(line.number, _numbers({f"{what}/{name}": getattr(line, key) for key, name in OF_A_PASS.items()}))


def cost_step(cost: CostLine, last: int) -> TrackedStep:
    """Costs that belong to no pass are assigned to the pass `last`."""
    number = last if cost.number is None else cost.number
    return TrackedStep(number, _numbers({f"cost/{name}": getattr(cost, name) for name in OF_A_COST}))


def result_metrics(metrics: RunMetrics) -> dict[str, float]:
    """The single numbers of `metrics.json`."""
    return _numbers({f"result/{key}": value for key, value in metrics.model_dump(exclude={"format"}).items()})


def _numbers(values: Mapping[str, object]) -> dict[str, float]:
    return {key: float(value) for key, value in values.items() if isinstance(value, int | float) and value == value}


def _flat(prefix: str, values: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(f"{prefix}{key}.", value)
        elif value is not None:
            yield f"{prefix}{key}", str(value)
