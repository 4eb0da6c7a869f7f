"""One row of a source, or what is wrong with one. A leaf."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from icm_client.contract.errors import RequestError


class Row(NamedTuple):
    """One row of a source. The value may not be an object."""

    where: str
    value: Any


class Fault(NamedTuple):
    """Why one row of a source cannot be used."""

    where: str
    """The source and the row's place in it, such as `rows.csv, line 3`."""
    what: str
    """What is wrong, and what to do about it."""
    kind: str
    """What is wrong, in the same words for all faults that are counted together."""
    row: Any = None
    """The row, as far as it could be read: its value, or its text."""

    @property
    def message(self) -> str:
        return f"{self.where}: {self.what}"


OnFault = Callable[[Fault], None]
"""Called with every bad row. If it returns, reading goes on behind that row."""


def refuse(fault: Fault) -> None:
    """Raises RequestError for the first bad row."""
    raise RequestError(fault.message, code="bad_data")
