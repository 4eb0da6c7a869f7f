"""Turns rows into examples, and separates the gold labels from them at once."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from icm_annealer.core.arrays import Ints
from icm_annealer.data.bad_rows import BadRows, near
from icm_annealer.data.label_values import LabelValues, NotALabel
from icm_annealer.data.rows import MAX_LINE_BYTES, READ_AS_IT_IS, ReadAs, counted, counts_text, read_rows, shown_source
from icm_annealer.data.task import ID, Task
from icm_annealer.rules.consistency import Consistency
from icm_annealer.sources.byte_source import is_stream
from icm_annealer.sources.row import Fault, Row
from icm_client.contract.errors import RequestError

MAX_ROWS = 5_000_000
MAX_COLUMNS = 10_000
"""The most names of columns that are remembered for errors."""


@dataclass(frozen=True)
class Example:
    """One unlabelled input. It holds no gold label and no reference to one."""

    id: str
    text: str
    group: str | None
    fields: dict[str, Any]
    """The fields of the row, which consistency rules may use; never the gold field."""


class Loaded(NamedTuple):
    """Loaded data: `examples` and `known` for the search, and `gold` (id -> label name) for evaluation only."""

    examples: list[Example]
    """One example per row that is not bad, in order."""
    gold: dict[str, str]
    num_blank_lines: int = 0
    """Blank lines of a text file, which were skipped."""
    known: Mapping[str, str] = {}
    """Known labels (id -> label name), which the search may see and never changes."""
    skipped: Sequence[Fault] = ()
    """Bad rows that were left out; none unless that was asked for."""

    @property
    def counts_text(self) -> str:
        """`200 rows read`, and the number of blank lines and bad rows skipped, if any."""
        bad = f", {counted(len(self.skipped), 'bad row')} skipped" if self.skipped else ""
        return counts_text(len(self.examples) + len(self.skipped), self.num_blank_lines) + bad


def load_examples(source: Path | str, task: Task, read_as: ReadAs = READ_AS_IT_IS) -> Loaded:
    """Loads any source that `rows.read_rows` can read, in the way that `read_as` or else the task says.

    Raises RequestError naming the file and its bad rows, and if a field that the task names is in no row.
    """
    bad = BadRows(shown_source(source), task, skip=read_as.skip_bad)
    how = ReadAs(read_as.columns or task.columns, read_as.encoding or task.encoding)
    rows = read_rows(source, read_as=how, on_fault=bad.add)
    loaded = examples_of(rows, task, bad)
    if not loaded.examples:
        once = " (a pipe, or standard input, can be read a single time)" if is_stream(source) else ""
        raise RequestError(f"{shown_source(source)}: no rows{once}", code="bad_data")
    return loaded._replace(num_blank_lines=rows.num_blank_lines)


def examples_of(rows: Iterable[Row], task: Task, bad: BadRows | None = None) -> Loaded:
    """The examples in row order, with the labels that the rows hold. Rows without an id are numbered, from 0.

    Raises RequestError for bad rows, unless `bad` skips them, and for a field of the task that is in no row.
    """
    bad = bad or BadRows("rows", task, can_skip=False)
    seen = _Seen(task)
    read: list[_Read] = []
    for row in rows:
        number = len(read) + bad.num
        if number >= MAX_ROWS:
            raise RequestError(f"{row.where}: more than {MAX_ROWS} rows", code="bad_data")
        try:
            read.append(seen.read(row, number))
        except NotALabel as wrong:
            bad.add_value(row, seen.values, wrong)
        except _BadRow as wrong:
            bad.add(Fault(row.where, wrong.what, wrong.kind, row.value))
    num_rows = len(read) + bad.num
    seen.check_columns(num_rows, bad)
    skipped = bad.skipped(num_rows)
    ids = [name or _free_number(number, seen.ids) for name, number in ((one.id, one.number) for one in read)]
    examples = [Example(name, one.text, one.group, one.facts) for name, one in zip(ids, read, strict=True)]
    gold = {name: one.gold for name, one in zip(ids, read, strict=True) if one.gold is not None}
    known = {name: one.known for name, one in zip(ids, read, strict=True) if one.known is not None}
    return Loaded(examples, gold, known=known, skipped=skipped)


def consistency_of(task: Task, examples: Sequence[Example]) -> Consistency:
    """The task's rules over these examples, with groups in order of their first member. Raises RequestError for a
    group that is too large to solve."""
    groups = [np.array(group, dtype=np.int64) for group in groups_of(examples)]
    facts, ids = [example.fields for example in examples], [example.id for example in examples]
    return Consistency(task.rules, groups, facts, task.label_names, ids)


def first_of(examples: Sequence[Example], num_examples: int) -> list[Example]:
    """The first `num_examples` examples, and the other members of their groups, which may come later."""
    begun = {example.group for example in examples[:num_examples] if example.group is not None}
    return [e for number, e in enumerate(examples) if number < num_examples or e.group in begun]


def sample(
    examples: Sequence[Example],
    num_examples: int,
    num_test: int,
    rng: np.random.Generator,
    first: Container[str] = (),
) -> tuple[list[Example], list[Example]]:
    """A random part to label and a disjoint part to test on. No group is split between them. Groups with an example
    whose id is in `first` are drawn before the others.

    If whole groups do not add up to a size, the part exceeds it by as little as the remaining groups allow. It is
    smaller only if the data run out.
    """
    groups = groups_of(examples)
    parts: tuple[list[Example], list[Example]] = ([], [])
    left: list[list[int]] = []
    drawn = [groups[i] for i in rng.permutation(len(groups))]
    for group in sorted(drawn, key=lambda group: not any(examples[i].id in first for i in group)):
        for part, size in zip(parts, (num_examples, num_test), strict=True):
            if len(part) + len(group) <= size:
                part.extend(examples[i] for i in group)
                break
        else:
            left.append(group)
    for part, size in zip(parts, (num_examples, num_test), strict=True):
        if len(part) < size and left:
            group = left.pop(left.index(min(left, key=len)))
            part.extend(examples[i] for i in group)
    return parts


def labels_of(examples: Sequence[Example], labels: Mapping[str, str], task: Task) -> Ints:
    """The numbers of `labels` (id -> label name) by example, -1 where there is none."""
    number = {name: k for k, name in enumerate(task.label_names)}
    return np.array([number[labels[e.id]] if e.id in labels else -1 for e in examples], dtype=np.int64)


def digest(examples: Sequence[Example]) -> str:
    """A hash of all data that the search uses."""
    found = hashlib.sha256()
    for number, example in enumerate(examples):  # the hash of one JSON list, computed incrementally
        row = json.dumps([example.id, example.text, example.group, example.fields], ensure_ascii=False)
        found.update((", " if number else "[").encode() + row.encode())
    found.update(b"]" if examples else b"[]")
    return found.hexdigest()[:16]


class Grouped(Protocol):
    """What may belong to a group, such as an Example."""

    @property
    def group(self) -> str | None:
        """The group's name; None for one of its own."""


def groups_of(examples: Sequence[Grouped]) -> list[list[int]]:
    """The example numbers of each group, ordered by first member; an example without a group forms its own."""
    members: dict[tuple[str | None, int], list[int]] = {}
    for number, example in enumerate(examples):
        key = (example.group, -1) if example.group is not None else (None, number)
        members.setdefault(key, []).append(number)
    return list(members.values())


def is_absent(value: Any) -> bool:
    """Whether a value is missing: None, or NaN in a column of numbers."""
    return value is None or value != value


class _BadRow(Exception):  # noqa: N818 (collected, not raised to callers)
    """A row that cannot be an example."""

    def __init__(self, what: str, kind: str | None = None):
        super().__init__(what)
        self.what, self.kind = what, kind or what


class _Read(NamedTuple):
    """What one row holds."""

    id: str | None
    number: int
    text: str
    group: str | None
    facts: dict[str, Any]
    gold: str | None
    known: str | None


class _Seen:
    """Reads rows, and remembers what later rows are compared with."""

    def __init__(self, task: Task):
        self.values = LabelValues(task)
        self.ids: set[str] = set()
        """The ids that rows state."""
        self._task = task
        self._fields = task.fields
        self._key_kinds: dict[str, str] = {}
        self._columns: dict[str, None] = {}
        self._last: Any = None
        self._num_missing: Counter[str] = Counter()

    def read(self, row: Row, number: int) -> _Read:
        """Raises _BadRow and NotALabel."""
        task, value = self._task, row.value
        if not isinstance(value, dict):
            raise _BadRow(f"a row must be a JSON object, not {type(value).__name__}")
        self._note_columns(value)
        name = None if is_absent(value.get(task.id)) else str(value[task.id])
        if name in self.ids:
            raise _BadRow(f"duplicate id {name!r:.200}", "an id that another row has")
        facts = {field: value for field, value in value.items() if field not in (task.gold, task.known)}
        self._check_fields(facts)
        text = task.render(facts)
        if len(text) > MAX_LINE_BYTES:
            raise _BadRow(f"the example's text is longer than {MAX_LINE_BYTES} characters")
        if not text.strip():
            raise _BadRow("the example's text is empty")
        gold, known = (
            None if field is None else self.values.label(value.get(field)) for field in (task.gold, task.known)
        )
        if name is not None:
            self.ids.add(name)
        return _Read(name, number, text, str(facts[task.group]) if task.group else None, facts, gold, known)

    def check_columns(self, num_rows: int, bad: BadRows) -> None:
        """Raises RequestError for a field that the task names and no row has, unless gold or known labels are simply
        not there."""
        task, there = self._task, list(self._columns)
        if not there:
            return
        missing = next((field for field in self._fields if self._num_missing[field] == num_rows > 1), None)
        if missing is not None:
            without = "" if task.columns else "; if the first line is no header, name the columns with --columns"
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
                there = list(facts)
                raise _BadRow(
                    f"the field {field!r} is missing or not a plain value ({_there(there)}{_meant(field, there)})",
                    f"the field {field!r} is missing or not a plain value",
                )
        for key in self._task.rule_keys:
            kind = "text" if isinstance(facts[key], str) else "a number"
            if self._key_kinds.setdefault(key, kind) != kind:  # 600 and "600" would count as different
                raise _BadRow(
                    f"{key!r}, which a rule compares, is {kind} here and {self._key_kinds[key]} in earlier rows"
                )


def _free_number(number: int, taken: Container[str]) -> str:
    """The row's number as an id, apart from the ids that rows state."""
    name = str(number)
    while name in taken:
        name = f"row-{name}"
    return name


def _there(names: Sequence[str]) -> str:
    return f"there are: {', '.join(names[:20])}" + (", ..." if len(names) > 20 else "")


def _meant(name: str, names: Sequence[str]) -> str:
    """A question for the column that was probably meant; nothing if there is none like it."""
    meant = near(name, [other for other in names if other != name])
    return f"; is {meant!r} meant?" if meant else ""
