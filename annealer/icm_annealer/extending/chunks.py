"""The rows of a source in chunks that no group is cut by, with one chunk in memory at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pydantic_core

from icm_annealer.core.arrays import Ints
from icm_annealer.data.bad_rows import BadRows
from icm_annealer.data.examples import Example
from icm_annealer.data.label_values import NotALabel
from icm_annealer.data.row_reader import BadRow, ReadRow, RowReader
from icm_annealer.data.rows import REMOTE, ReadAs, read_rows, shown_source
from icm_annealer.data.task import Task
from icm_annealer.runs.schema.extension import DataSource
from icm_annealer.sources.row import Fault
from icm_client.contract.errors import RequestError

CHUNK_ROWS = 4096
"""Rows of a chunk, at least; the last group is completed."""
MAX_GROUP_ROWS = 65_536
MERGED = 65_536
"""New groups that are kept in a set before they are merged into the sorted array of all."""


class Chunk(NamedTuple):
    """Successive rows of a source."""

    number: int
    """Counted from 0."""
    rows: list[ReadRow]
    digest: str
    """A hash of all that labels can depend on, in all rows up to the end of this chunk."""


class Source(NamedTuple):
    """Where rows come from, and how they are read."""

    place: Path | str
    task: Task
    read_as: ReadAs

    @property
    def name(self) -> str:
        """For messages."""
        return shown_source(self.place)

    @property
    def record(self) -> DataSource:
        """As it is written down; without a secret."""
        place = self.name if str(self.place).startswith(REMOTE) else str(Path(self.place).resolve())
        return DataSource(place=place, columns=list(self._how.columns), encoding=self._how.encoding)

    @property
    def _how(self) -> ReadAs:
        return ReadAs(self.read_as.columns or self.task.columns, self.read_as.encoding or self.task.encoding)

    def rows(self, bad: BadRows) -> Iterator[ReadRow]:
        """The rows that can be used, in order; the others are added to `bad`. Ids are not compared with each other.

        A row has the same number in every reading, whatever else is added to `bad` meanwhile.
        """
        reader = RowReader(self.task, compares_ids=False)
        num = 0

        def unreadable(fault: Fault) -> None:
            nonlocal num
            num += 1
            bad.add(fault)

        for row in read_rows(self.place, read_as=self._how, on_fault=unreadable):
            try:
                read = reader.read(row, num)
            except NotALabel as wrong:
                bad.add_value(row, reader.values, wrong)
            except BadRow as wrong:
                bad.add(Fault(row.where, wrong.what, wrong.kind, row.value))
            else:
                yield read
            num += 1
        reader.check_columns(num, bad)


def id_of(row: ReadRow) -> str:
    """The row's own id, or its number in the source, from 0."""
    return str(row.number) if row.id is None else row.id


def known_of(rows: Sequence[ReadRow], task: Task) -> Ints:
    """[row]: the number of the label that the data state as known, -1 where they state none."""
    number = {name: k for k, name in enumerate(task.label_names)}
    return np.array([-1 if row.known is None else number[row.known] for row in rows], dtype=np.int64)


def examples_of(rows: Iterable[ReadRow]) -> list[Example]:
    """The rows as rules see them."""
    return [Example(id_of(row), row.text, row.group, row.facts) for row in rows]


def chunked(
    rows: Iterable[ReadRow], source: Source, *, without: Collection[int] = (), size: int = CHUNK_ROWS
) -> Iterator[Chunk]:
    """The rows in chunks, except those with the numbers `without`.

    Raises RequestError for a group whose rows do not follow each other, or that is too large.
    """
    task = source.task
    fields = None if any(rule.code is not None for rule in task.rules) else task.rule_keys
    digest, groups = hashlib.sha256(), SeenGroups()
    chunk: list[ReadRow] = []
    number, last, num_of_group = 0, None, 0
    for row in rows:
        if row.number in without:
            continue
        if row.group is None or row.group != last:
            if row.group is not None and not groups.add(row.group):
                raise RequestError(
                    f"{source.name}: the rows of the group {row.group!r:.100} do not follow each other: sort the data "
                    "by the group's field, since a group is labelled as a whole",
                    code="bad_data",
                )
            if len(chunk) >= size:
                yield Chunk(number, chunk, digest.hexdigest()[:16])
                chunk, number = [], number + 1
            last, num_of_group = row.group, 0
        num_of_group += 1
        if num_of_group > MAX_GROUP_ROWS:
            raise RequestError(f"{source.name}: the group {last!r:.100} has more than {MAX_GROUP_ROWS:,} rows")
        chunk.append(row)
        digest.update(_content(row, fields))
    if chunk:
        yield Chunk(number, chunk, digest.hexdigest()[:16])


def _content(row: ReadRow, fields: Sequence[str] | None) -> bytes:
    """All that a label can depend on; None for `fields` stands for all, which a rule that is code may read."""
    facts = row.facts if fields is None else [row.facts[name] for name in fields]
    return row_json([row.id, row.text, row.group, row.known, facts])


def row_json(row: Any) -> bytes:
    """A row as one line of JSON. A missing number, NaN in a column of numbers, becomes null: JSON has no NaN."""
    return pydantic_core.to_json(row, inf_nan_mode="null", bytes_mode="base64", fallback=str)


class SeenGroups:
    """The groups that came before: eight bytes a group."""

    def __init__(self) -> None:
        self._merged: npt.NDArray[np.uint64] = np.empty(0, dtype=np.uint64)
        self._new: set[int] = set()

    def add(self, group: str) -> bool:
        """Adds a group; returns whether it is new. Two of a billion groups are mistaken for each other with a
        probability of 0.03."""
        found = hashlib.blake2b(group.encode(errors="surrogatepass"), digest_size=8).digest()
        key = int.from_bytes(found)
        place = int(np.searchsorted(self._merged, np.uint64(key)))
        if key in self._new or (place < len(self._merged) and int(self._merged[place]) == key):
            return False
        self._new.add(key)
        if len(self._new) >= MERGED:
            new = np.fromiter(self._new, dtype=np.uint64, count=len(self._new))
            self._merged = np.sort(np.concatenate([self._merged, new]))
            self._new.clear()
        return True
