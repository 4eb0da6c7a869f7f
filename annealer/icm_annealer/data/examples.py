"""Turns rows into examples, and separates the gold labels from them at once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from icm_annealer.core.arrays import Ints
from icm_annealer.data.bad_rows import BadRows
from icm_annealer.data.label_values import NotALabel
from icm_annealer.data.row_reader import BadRow, ReadRow, RowReader
from icm_annealer.data.rows import READ_AS_IT_IS, ReadAs, counts_text, read_rows, shown_source
from icm_annealer.data.task import Task
from icm_annealer.rules.consistency import Consistency
from icm_annealer.sources.byte_source import is_stream
from icm_annealer.sources.row import Fault, Row
from icm_client.contract.errors import RequestError
from icm_client.text.counts import counted

MAX_ROWS = 5_000_000


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
    bad = bad or BadRows("rows", task, skip=None)
    reader = RowReader(task)
    read: list[ReadRow] = []
    for row in rows:
        number = len(read) + bad.num
        if number >= MAX_ROWS:
            raise RequestError(f"{row.where}: more than {MAX_ROWS} rows", code="bad_data")
        try:
            read.append(reader.read(row, number))
        except NotALabel as wrong:
            bad.add_value(row, reader.values, wrong)
        except BadRow as wrong:
            bad.add(Fault(row.where, wrong.what, wrong.kind, row.value))
    num_rows = len(read) + bad.num
    reader.check_columns(num_rows, bad)
    skipped = bad.skipped(num_rows)
    ids = [name or _free_number(number, reader.ids) for name, number in ((one.id, one.number) for one in read)]
    examples = [Example(name, one.text, one.group, one.facts) for name, one in zip(ids, read, strict=True)]
    gold = {name: one.gold for name, one in zip(ids, read, strict=True) if one.gold is not None}
    known = {name: one.known for name, one in zip(ids, read, strict=True) if one.known is not None}
    return Loaded(examples, gold, known=known, skipped=skipped)


def rendered(examples: Iterable[Example], task: Task) -> list[Example]:
    """The same examples with the text that this task's template gives them. Raises KeyError for a field that an example
    lacks."""
    return [replace(example, text=task.render(example.fields)) for example in examples]


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


def digest(examples: Sequence[Example], fields: Sequence[str]) -> str:
    """A hash of all data that a search uses: ids, texts, groups, and these fields."""
    found = hashlib.sha256()
    for number, example in enumerate(examples):  # the hash of one JSON list, computed incrementally
        facts = [example.fields.get(name) for name in fields]
        row = json.dumps([example.id, example.text, example.group, facts], ensure_ascii=False)
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


def _free_number(number: int, taken: Container[str]) -> str:
    """The row's number as an id, apart from the ids that rows state."""
    name = str(number)
    while name in taken:
        name = f"row-{name}"
    return name
