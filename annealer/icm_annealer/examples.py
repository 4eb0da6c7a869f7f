"""Data in: rows become examples, and gold labels are split off before anything else sees them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from icm_annealer.arrays import Ints
from icm_annealer.consistency import Consistency
from icm_annealer.task import Task
from icm_client.errors import RequestError

MAX_LINE_BYTES = 4 * 1024 * 1024
MAX_ROWS = 5_000_000


@dataclass(frozen=True)
class Example:
    """One unlabelled input. It carries no gold label, and no way to one."""

    id: str
    text: str
    group: str | None
    facts: dict[str, Any]
    """The row's fields that consistency rules may look at (never the gold field)."""


class Loaded(NamedTuple):
    """What a data file holds: the search gets `examples`, evaluation alone gets `gold` (id -> label name)."""

    examples: list[Example]
    gold: dict[str, str]


def load_examples(path: Path, task: Task) -> Loaded:
    """Reads JSONL, or a JSON list. Raises RequestError naming the file and the line for the first broken row."""
    examples: list[Example] = []
    gold: dict[str, str] = {}
    seen: set[str] = set()
    for where, row in _rows(path):
        number = len(examples)
        if number >= MAX_ROWS:
            raise RequestError(f"{where}: more than {MAX_ROWS} rows", code="bad_data")
        if not isinstance(row, dict):
            raise RequestError(f"{where}: a row must be a JSON object, not {type(row).__name__}", code="bad_data")
        example_id = str(row.get(task.id, number))
        if example_id in seen:
            raise RequestError(f"{where}: the id {example_id!r} stands there a second time", code="bad_data")
        seen.add(example_id)
        facts = {name: value for name, value in row.items() if name != task.gold}
        for field in task.fields:
            if field not in facts or facts[field] is None or isinstance(facts[field], dict | list):
                raise RequestError(f"{where}: the field {field!r} is missing or not a plain value", code="bad_data")
        text = task.render(facts)
        if not text.strip():
            raise RequestError(f"{where}: the example's text is empty", code="bad_data")
        if not _is_unicode(text, example_id, facts):
            raise RequestError(f"{where}: holds half of a surrogate pair, which is no character", code="bad_data")
        examples.append(Example(example_id, text, str(facts[task.group]) if task.group else None, facts))
        if task.gold is not None and row.get(task.gold) is not None:
            gold[example_id] = _gold_label(row[task.gold], task, where)
    if not examples:
        raise RequestError(f"{path}: no rows", code="bad_data")
    return Loaded(examples, gold)


def consistency_of(task: Task, examples: Sequence[Example]) -> Consistency:
    """The task's rules over these examples, in groups in order of their first member."""
    groups = [np.array(group, dtype=np.int64) for group in _groups(examples)]
    return Consistency(task.rules, groups, [example.facts for example in examples], task.label_names)


def sample(
    examples: Sequence[Example], num_examples: int, num_test: int, rng: np.random.Generator
) -> tuple[list[Example], list[Example]]:
    """A random part to label and another, disjoint, to test on; whole groups stay on one side."""
    groups = _groups(examples)
    parts: tuple[list[Example], list[Example]] = ([], [])
    for group in (groups[i] for i in rng.permutation(len(groups))):
        for part, size in zip(parts, (num_examples, num_test), strict=True):
            if len(part) + len(group) <= size:
                part.extend(examples[i] for i in group)
                break
    return parts


def labels_of(examples: Sequence[Example], gold: dict[str, str], task: Task) -> Ints:
    """Label numbers by example, -1 where there is none. For evaluation only."""
    number = {name: k for k, name in enumerate(task.label_names)}
    return np.array([number[gold[e.id]] if e.id in gold else -1 for e in examples], dtype=np.int64)


def digest(examples: Sequence[Example]) -> str:
    """A hash of everything that the search sees of the data."""
    content = json.dumps([[e.id, e.text, e.group, e.facts] for e in examples], ensure_ascii=False)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _groups(examples: Sequence[Example]) -> list[list[int]]:
    """The numbers of each group's examples, in order of their first; an example without a group is alone."""
    members: dict[tuple[str | None, int], list[int]] = {}
    for number, example in enumerate(examples):
        key = (example.group, -1) if example.group is not None else (None, number)
        members.setdefault(key, []).append(number)
    return list(members.values())


def _is_unicode(*values: Any) -> bool:
    try:
        json.dumps(values, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _gold_label(value: Any, task: Task, where: str) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    label = task.gold_values.get(text, text)
    if label not in task.labels:
        known = ", ".join([*task.labels, *task.gold_values])
        raise RequestError(f"{where}: the gold label {text!r} is none of {known}", code="bad_data")
    return label


def _rows(path: Path) -> Iterator[tuple[str, Any]]:
    try:
        with path.open("rb") as file:
            if file.read(1) == b"[":
                file.seek(0)
                yield from ((f"{path}, row {k}", row) for k, row in enumerate(json.load(file), start=1))
                return
            file.seek(0)
            number = 0
            while line := file.readline(MAX_LINE_BYTES + 1):
                number += 1
                where = f"{path}, line {number}"
                if len(line) > MAX_LINE_BYTES:
                    raise RequestError(f"{where}: longer than {MAX_LINE_BYTES} bytes", code="bad_data")
                if line.strip():
                    yield where, _parse(line, where)
    except OSError as error:
        raise RequestError(f"{path}: {error.strerror or error}", code="bad_data") from None
    except (ValueError, RecursionError) as error:
        raise RequestError(f"{path}: not valid JSON in UTF-8 ({error})", code="bad_data") from None


def _parse(line: bytes, where: str) -> Any:
    try:
        return json.loads(line.decode("utf-8-sig" if where.endswith("line 1") else "utf-8"))
    except UnicodeDecodeError as error:
        raise RequestError(f"{where}: not UTF-8 (byte {error.start})", code="bad_data") from None
    except (ValueError, RecursionError) as error:  # ValueError: also of numbers with thousands of digits
        raise RequestError(f"{where}: not valid JSON ({error})", code="bad_data") from None
