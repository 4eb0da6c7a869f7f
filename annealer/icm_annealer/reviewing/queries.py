"""Which rows a reviewer looks at, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from icm_annealer.evaluation.agreement import random_order
from icm_annealer.runs.schema.base import Record
from icm_annealer.runs.schema.rows import LabelRow
from icm_client.contract.errors import RequestError


def _least_certain(rows: Sequence[LabelRow]) -> list[int]:
    """By the certainty of the labels found, which no decision changes; known ones last."""
    return sorted(range(len(rows)), key=lambda number: (rows[number].certainty_found, rows[number].margin))


ORDERS: Mapping[str, Callable[[Sequence[LabelRow]], Iterable[int]]] = {
    "certainty": _least_certain,
    "random": lambda rows: random_order(len(rows)),
    "data": lambda rows: range(len(rows)),
}
STATES: Mapping[str, Callable[[LabelRow], bool]] = {
    "open": lambda row: not row.is_decided and not row.known,
    "decided": lambda row: row.is_decided,
    "changed": lambda row: row.is_changed,
    "superseded": lambda row: row.is_superseded,
    "all": lambda row: True,
}


class Query(Record):
    """Rows to look at."""

    order: str = "certainty"
    """A name in ORDERS."""
    state: str = "open"
    """A name in STATES."""
    label: str = ""
    """A label's name; empty for all labels."""
    below: float = 1.0
    """Rows whose label was found with at most this probability."""
    text: str = ""
    """What the row's text or id contains, in any case."""


def numbers_of(query: Query, rows: Sequence[LabelRow], texts: Sequence[str]) -> list[int]:
    """The numbers of the rows that fit, in order. Raises RequestError for an unknown order or state."""
    for name, names in ((query.order, ORDERS), (query.state, STATES)):
        if name not in names:
            raise RequestError(f"{name!r} is none of {', '.join(names)}")
    fits, searched = STATES[query.state], query.text.casefold()

    def is_asked_for(number: int) -> bool:
        row = rows[number]
        return (
            fits(row)
            and query.label in ("", row.label)
            and row.certainty_found <= query.below
            and (searched in texts[number].casefold() or searched in row.id.casefold())
        )

    return [number for number in ORDERS[query.order](rows) if is_asked_for(number)]
