"""Turns rows into examples, and separates the gold labels from them at once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from icm_annealer.core.arrays import Ints
from icm_annealer.data.byte_source import is_stream, name_of
from icm_annealer.data.rows import MAX_LINE_BYTES, Row, counts_text, read_rows
from icm_annealer.data.task import Task
from icm_annealer.rules.consistency import Consistency
from icm_client.contract.errors import RequestError

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
    """One example per row, in order. An invalid row is an error."""
    gold: dict[str, str]
    num_blank_lines: int = 0
    """Blank lines of a text file, which were skipped."""
    known: Mapping[str, str] = {}
    """Known labels (id -> label name), which the search may see and never changes."""

    @property
    def counts_text(self) -> str:
        """`200 rows read`, and the number of blank lines skipped, if any."""
        return counts_text(len(self.examples), self.num_blank_lines)


def load_examples(source: Path | str, task: Task) -> Loaded:
    """Loads any source that `rows.read_rows` can read. Raises RequestError naming the file and its first invalid
    row."""
    rows = read_rows(source)
    loaded = examples_of(rows, task)
    if not loaded.examples:
        once = " (a pipe, or standard input, can be read a single time)" if is_stream(source) else ""
        raise RequestError(f"{name_of(source)}: no rows{once}", code="bad_data")
    return loaded._replace(num_blank_lines=rows.num_blank_lines)


def examples_of(rows: Iterable[Row], task: Task) -> Loaded:
    """The examples in row order, with the labels that the rows hold. Raises RequestError for an invalid row."""
    examples: list[Example] = []
    gold: dict[str, str] = {}
    known: dict[str, str] = {}
    seen: set[str] = set()
    key_kinds: dict[str, str] = {}
    for where, row in rows:
        number = len(examples)
        if number >= MAX_ROWS:
            raise RequestError(f"{where}: more than {MAX_ROWS} rows", code="bad_data")
        if not isinstance(row, dict):
            raise RequestError(f"{where}: a row must be a JSON object, not {type(row).__name__}", code="bad_data")
        example_id = str(number if is_absent(row.get(task.id)) else row[task.id])
        if example_id in seen:
            raise RequestError(f"{where}: duplicate id {example_id!r}", code="bad_data")
        seen.add(example_id)
        facts = {name: value for name, value in row.items() if name not in (task.gold, task.known)}
        _check_fields(facts, task, key_kinds, where)
        text = task.render(facts)
        if len(text) > MAX_LINE_BYTES:
            raise RequestError(f"{where}: the example's text is longer than {MAX_LINE_BYTES} characters")
        if not text.strip():
            raise RequestError(f"{where}: the example's text is empty", code="bad_data")
        examples.append(Example(example_id, text, str(facts[task.group]) if task.group else None, facts))
        if task.gold is not None and not is_absent(row.get(task.gold)):
            gold[example_id] = label_named(row[task.gold], task, where)
        if task.known is not None and not is_unknown(row.get(task.known)):
            known[example_id] = label_named(row[task.known], task, where)
    return Loaded(examples, gold, known=known)


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


def label_named(value: Any, task: Task, where: str) -> str:
    """The label name for a field's value (gold or a person's label). Raises RequestError."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # integer columns with gaps are read as floats
    text = value if isinstance(value, str) else json.dumps(value)
    # Programs write truth values to text files in different ways: True, TRUE or true.
    label = task.gold_values.get(text) or task.gold_values.get(text.lower(), text)
    if label not in task.labels:
        known = ", ".join([*task.labels, *task.gold_values])
        raise RequestError(f"{where}: the label {text!r} is none of {known}", code="bad_data")
    return label


def is_absent(value: Any) -> bool:
    """Whether a value is missing: None, or NaN in a column of numbers."""
    return value is None or value != value


def is_unknown(value: Any) -> bool:
    """Whether a field for a known label is empty."""
    return is_absent(value) or value == ""


def _is_one_cell(facts: dict[str, Any]) -> bool:
    """Whether a row looks like a semicolon-separated CSV file, as spreadsheets write where commas are decimal
    points."""
    return any(";" in name for name in facts)


def _check_fields(facts: dict[str, Any], task: Task, key_kinds: dict[str, str], where: str) -> None:
    """Checks that a row has the fields of the task. `key_kinds` stores the type of each rule's key for later rows."""
    for field in task.fields:
        if is_absent(facts.get(field)) or isinstance(facts[field], dict | list):
            there = ", ".join(list(facts)[:20])
            hint = "; are its cells parted by semicolons? Commas are read, or tabs" if _is_one_cell(facts) else ""
            raise RequestError(
                f"{where}: the field {field!r} is missing or not a plain value (there are: {there}{hint})",
                code="bad_data",
            )
    for key in task.rule_keys:
        kind = "text" if isinstance(facts[key], str) else "a number"
        if key_kinds.setdefault(key, kind) != kind:  # 600 and "600" would count as different
            raise RequestError(
                f"{where}: {key!r}, which a rule compares, is {kind} here and {key_kinds[key]} in earlier rows",
                code="bad_data",
            )
