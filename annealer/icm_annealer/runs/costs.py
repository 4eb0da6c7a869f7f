"""The costs of a run over all its processes: `costs.jsonl`, one line per request."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pydantic
import pydantic_core

from icm_annealer.runs.directory import COSTS
from icm_annealer.runs.schema.rows import CostLine
from icm_client.contract.errors import RequestError
from icm_client.contract.wire import Usage
from icm_client.text.validation import first_error


class Spent(NamedTuple):
    """The sum of all lines."""

    usage: Usage
    search_seconds: float
    """Seconds spent waiting for passes; concurrent passes count once."""


NOTHING_SPENT = Spent(Usage(), 0.0)


def write_cost(folder: Path, number: int | None, seconds: float, waited: float, usage: Usage) -> None:
    """Appends the cost of one request: the pass with this number, or the rescoring at the end (None).

    It took `seconds`, and added `waited` seconds to the run.
    """
    cost = CostLine(number=number, seconds=round(seconds, 3), waited=round(waited, 3), **usage.model_dump())
    with (folder / COSTS).open("a", encoding="utf-8") as file:
        file.write(cost.model_dump_json() + "\n")


def read_costs(folder: Path) -> list[CostLine]:
    """A run's costs. Skips a truncated line, which the next entry may follow without a line end.

    Raises RequestError naming a complete line that is invalid.
    """
    try:
        content = (folder / COSTS).read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise RequestError(f"{folder / COSTS}: {error.strerror}", code="bad_run") from None
    lines = enumerate(content.split(b"\n"), start=1)
    costs = [cost_of(line, f"{folder / COSTS}, line {number}") for number, line in lines]
    return [cost for cost in costs if cost is not None]


def cost_of(line: bytes, where: str) -> CostLine | None:
    """One line; None if it is truncated. Raises RequestError for a complete line that is invalid."""
    with contextlib.suppress(ValueError):
        pydantic_core.from_json(line)
        try:
            return CostLine.model_validate_json(line)
        except pydantic.ValidationError as error:
            raise RequestError(
                f"{where}: {first_error(error)}; the file was changed or damaged: remove the line, and its cost is not "
                "counted",
                code="bad_run",
            ) from None
    return None


def spent(costs: Sequence[CostLine]) -> Spent:
    """The sum of the costs."""
    waited = sum(cost.waited for cost in costs if cost.number is not None)
    return Spent(sum(costs, Usage()), round(waited, 3))
