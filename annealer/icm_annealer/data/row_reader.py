"""Reads what a task needs from rows, each compared with those before it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from icm_annealer.data.bad_rows import BadRows, near
from icm_annealer.data.label_values import LabelValues
from icm_annealer.data.rows import MAX_LINE_BYTES
from icm_annealer.data.task import ID, Task
from icm_annealer.sources.row import Row
from icm_client.contract.errors import RequestError

MAX_COLUMNS = 10_000
"""The most names of columns that are remembered for errors."""


def is_absent(value: Any) -> bool:
    """Whether a value is missing: None, or NaN in a column of numbers."""
    return value is None or value != value


class BadRow(Exception):  # noqa: N818 (collected, not raised to callers)
    """A row that cannot be an example."""

    def __init__(self, what: str, kind: str | None = None):
        super().__init__(what)
        self.what, self.kind = what, kind or what


class ReadRow(NamedTuple):
    """What one row holds. Labels are names; None where there is none."""

    id: str | None
    """The id that the row states."""
    number: int
    """The row's number in its source, from 0."""
    text: str
    group: str | None
    facts: dict[str, Any]
    """Its fields, without gold and known labels."""
    gold: str | None
    known: str | None


class RowReader:
    """Reads rows, and remembers what later rows are compared with."""

    def __init__(self, task: Task, *, compares_ids: bool = True):
        """`compares_ids`: whether a row with the id of an earlier one is bad; if not, no ids are remembered."""
        self.values = LabelValues(task)
        self.ids: set[str] = set()
        """The ids that rows state."""
        self._compares_ids = compares_ids
        self._task = task
        self._fields = task.fields
        self._key_kinds: dict[str, str] = {}
        self._columns: dict[str, None] = {}
        self._last: Any = None
        self._num_missing: Counter[str] = Counter()

    def read(self, row: Row, number: int) -> ReadRow:
        """What the row with this number holds. Raises BadRow, and NotALabel for a value of the label fields."""
        task, value = self._task, row.value
        if not isinstance(value, dict):
            raise BadRow(f"a row must be a JSON object, not {type(value).__name__}")
        self._note_columns(value)
        name = None if is_absent(value.get(task.id)) or value[task.id] == "" else str(value[task.id])
        if name in self.ids:
            raise BadRow(f"duplicate id {name!r:.200}", "an id that another row has")
        facts = {field: value for field, value in value.items() if field not in (task.gold, task.known)}
        self._check_fields(facts)
        text = task.render(facts)
        if len(text) > MAX_LINE_BYTES:
            raise BadRow(f"the example's text is longer than {MAX_LINE_BYTES} characters")
        if not text.strip():
            raise BadRow("the example's text is empty")
        gold, known = (
            None if field is None else self.values.label(value.get(field)) for field in (task.gold, task.known)
        )
        if name is not None and self._compares_ids:
            self.ids.add(name)
        return ReadRow(name, number, text, str(facts[task.group]) if task.group else None, facts, gold, known)

    def check_columns(self, num_rows: int, bad: BadRows) -> None:
        """Raises RequestError for a field that the task names and no row has, unless gold or known labels are simply
        not there."""
        task, there = self._task, list(self._columns)
        if not there:
            return
        missing = next((field for field in self._fields if self._num_missing[field] == num_rows > 1), None)
        if missing is not None:
            without = (
                ""
                if task.columns
                else "; if the first line is no header, name the columns with --columns, or `columns` in the task"
            )
            raise RequestError(
                f"{bad.name}: the field {missing!r} is missing in all {num_rows:,} rows, or not a plain value "
                f"({_there(there)}{_meant(missing, there)}{without})",
                code="bad_data",
            )
        if task.id != ID and task.id not in self._columns:
            raise RequestError(
                f"{bad.name}: no row has the field {task.id!r}, which `id` names ({_there(there)}"
                f"{_meant(task.id, there)})",
                code="bad_data",
            )
        unused = [name for name in there if name not in (*self._fields, task.id, task.gold, task.known)]
        for what, field in (("gold", task.gold), ("known", task.known)):
            meant = _meant(field, unused) if field is not None and field not in self._columns else ""
            if meant:
                raise RequestError(
                    f"{bad.name}: no row has the field {field!r}, which `{what}` names ({_there(there)}{meant}); leave "
                    f"`{what}` out of the task if there are no such labels",
                    code="bad_data",
                )

    def _note_columns(self, value: dict[str, Any]) -> None:
        if value.keys() != self._last and len(self._columns) < MAX_COLUMNS:
            self._columns |= dict.fromkeys(value)
            self._last = value.keys()

    def _check_fields(self, facts: dict[str, Any]) -> None:
        """Checks that a row has the fields of the task."""
        for field in self._fields:
            value = facts.get(field)
            if is_absent(value) or isinstance(value, dict | list):
                self._num_missing[field] += 1
                raise _unusable(field, facts)
        for key in self._task.rule_keys:
            kind = "text" if isinstance(facts[key], str) else "a number"
            if self._key_kinds.setdefault(key, kind) != kind:  # 600 and "600" would count as different
                raise BadRow(
                    f"{key!r}, which a rule compares, is {kind} here and {self._key_kinds[key]} in earlier rows"
                )


def _unusable(field: str, facts: dict[str, Any]) -> BadRow:
    """Why the row has no plain value of the field."""
    if field not in facts:
        there, kind = list(facts), f"the field {field!r} is missing"
        return BadRow(f"{kind} ({_there(there)}{_meant(field, there)})", kind)
    if is_absent(facts[field]):
        return BadRow(f"the field {field!r} is empty")
    return BadRow(f"the field {field!r} holds a list or an object, and a template needs a plain value")


def _there(names: Sequence[str]) -> str:
    return f"there are: {', '.join(names[:20])}" + (", ..." if len(names) > 20 else "")


def _meant(name: str, names: Sequence[str]) -> str:
    """A question for the column that was probably meant; nothing if there is none like it."""
    meant = near(name, [other for other in names if other != name])
    return f"; is {meant!r} meant?" if meant else ""
