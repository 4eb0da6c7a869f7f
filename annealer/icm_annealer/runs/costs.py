"""What a run has cost, over all processes that worked on it: `costs.jsonl`, a line a request."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pydantic

from icm_annealer.runs.directory import COSTS
from icm_annealer.runs.journal_lines import first_wrong
from icm_annealer.runs.schema import Cost
from icm_client.contract.errors import RequestError
from icm_client.contract.wire import Usage


class Spent(NamedTuple):
    """What all lines come to."""

    usage: Usage
    search_seconds: float
    """In which passes were waited for; those that are asked side by side are waited for together."""


def write_cost(folder: Path, what: int | str, seconds: float, waited: float, usage: Usage) -> None:
    """Appends one request: a pass by its number, or the repeat at the end.

    It took `seconds`, and made the run longer by `waited`.
    """
    cost = {"pass": what, "seconds": round(seconds, 3), "waited": round(waited, 3), **usage.model_dump()}
    with (folder / COSTS).open("a", encoding="utf-8") as file:
        file.write(json.dumps(cost) + "\n")


def read_costs(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run's costs; one that was cut, which the next one may follow in the same line, is left out.

    Raises RequestError naming a line that is whole and holds something else.
    """
    try:
        content = (folder / COSTS).read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RequestError(f"{folder / COSTS}: {error.strerror}", code="bad_run") from None
    costs = []
    for number, line in enumerate(content.split(b"\n"), start=1):
        try:
            cost = json.loads(line)
        except (ValueError, RecursionError):
            continue
        try:
            Cost.model_validate(cost)
        except pydantic.ValidationError as error:
            raise RequestError(
                f"{folder / COSTS}, line {number}: {first_wrong(error)}; the file was changed or damaged: take the "
                "line out, and its cost is not counted",
                code="bad_run",
            ) from None
        costs.append(cost)
    return costs


def spent(costs: Sequence[dict[str, Any]]) -> Spent:
    """Their sum. Lines of older versions do not say what was waited for, only how long each pass took."""
    usage = Usage(**{name: sum(int(cost.get(name, 0)) for cost in costs) for name in Usage.model_fields})
    passes = [cost for cost in costs if isinstance(cost.get("pass"), int)]
    waited = sum(float(cost.get("waited", cost.get("seconds", 0.0))) for cost in passes)
    return Spent(usage, round(waited, 3))
