"""What a tracker is shown, out of the lines of a run's files. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

OF_A_PASS = {"u": "u", "p": "predictability", "contradictions": "contradictions", "temperature": "temperature"}
OF_A_COST = ("seconds", "prompt_tokens", "computed_tokens", "cached_tokens")


class Step(NamedTuple):
    """Figures of one pass; its number is the step."""

    number: int
    metrics: dict[str, float]


def params_of(header: dict[str, Any]) -> dict[str, str]:
    """A run's settings, model and data, out of its journal's first line, each by a dotted name."""
    chosen = {
        "task": header["task"].get("name", ""),
        "data": header["data"],
        "num_examples": len(header["ids"]),
        "scorer": header["model"],
        **header["settings"],
    }
    return dict(_flat("", chosen))


def pass_step(line: dict[str, Any]) -> Step | None:
    """Of a journal's line that is a pass. Figures of a chain have its name, so that each is a curve."""
    if line.get("kind") != "pass":
        return None
    what = str(line["request"]["purpose"]).replace(" ", "_")
    metrics = {f"{what}/{name}": line.get(key) for key, name in OF_A_PASS.items()}
    return Step(int(line["number"]), _numbers(metrics))


def cost_step(line: dict[str, Any], last: int) -> Step:
    """Of a line of the costs; what is no pass counts for the `last` one."""
    number = line.get("pass")
    return Step(number if isinstance(number, int) else last, _numbers({f"cost/{k}": line.get(k) for k in OF_A_COST}))


def result_metrics(summary: dict[str, Any]) -> dict[str, float]:
    """The single numbers of what `metrics.json` says."""
    return _numbers({f"result/{key}": value for key, value in summary.items()})


def _numbers(values: dict[str, Any]) -> dict[str, float]:
    return {key: float(value) for key, value in values.items() if isinstance(value, int | float) and value == value}


def _flat(prefix: str, values: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(f"{prefix}{key}.", value)
        elif value is not None:
            yield f"{prefix}{key}", str(value)
