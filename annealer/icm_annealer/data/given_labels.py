"""Labels that the user gives: known labels, which a search never changes, and labels that it starts from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from pathlib import Path
from typing import Any, NamedTuple

from icm_annealer.data.columnar import plain
from icm_annealer.data.examples import MAX_ROWS, Example, Loaded
from icm_annealer.data.label_values import LabelValues
from icm_annealer.data.row_reader import is_absent
from icm_annealer.data.rows import read_rows
from icm_annealer.data.task import Task
from icm_annealer.sources.row import Row
from icm_client.contract.errors import RequestError
from icm_client.text.counts import counted

NUM_SHOWN = 5


class GivenLabels(NamedTuple):
    """Labels by example id. They are neither gold labels, which a search never sees, nor results."""

    known: Mapping[str, str] = {}
    start: Mapping[str, str] | None = None
    """Labels to start from; examples that it does not name start without a label. None: the search has its own
    start."""

    def of(self, examples: Sequence[Example]) -> GivenLabels:
        """Those of these examples."""
        ids = {example.id for example in examples}

        def part(labels: Mapping[str, str]) -> dict[str, str]:
            return {name: label for name, label in labels.items() if name in ids}

        return GivenLabels(part(self.known), None if self.start is None else part(self.start))


NOTHING_GIVEN = GivenLabels()


def with_known(loaded: Loaded, task: Task, known: Mapping[Any, Any] | Iterable[Any] | str | Path) -> Loaded:
    """`loaded` with further known labels: of a file with the fields id and label (anything that `read_rows` reads, such
    as a corrected labels.jsonl), of a mapping from ids to labels, or with one label or None for each example.

    Raises RequestError if an id is repeated or is no example's, if a value is no label, or if an example has another
    known label already.
    """
    if isinstance(known, str | Path):
        what, pairs = str(known), list(_file_labels(read_rows(known)))
        if not pairs:
            raise RequestError(f"{what}: no rows, so no known labels", code="bad_data")
    elif isinstance(known, Mapping):
        what, pairs = "known", [(str(name), label, f"known, id {name!r}") for name, label in known.items()]
    elif isinstance(known, Iterable) and not isinstance(known, Set):
        what, pairs = "known", _sequence_labels(known, loaded.examples)
    else:
        raise RequestError(f"known: a mapping from ids to labels, or a label for each row, not {type(known).__name__}")
    _check_ids(what, [name for name, _, _ in pairs], {example.id for example in loaded.examples})
    values = LabelValues(task)
    read = {name: values.label_at(plain(label), where) for name, label, where in pairs}
    more = {name: label for name, label in read.items() if label is not None}
    differing = [name for name, label in more.items() if loaded.known.get(name, label) != label]
    if differing:
        raise RequestError(f"{what}: another known label than before for {named_ids(differing)}", code="bad_data")
    return loaded._replace(known={**loaded.known, **more})


def named_ids(ids: Collection[str]) -> str:
    """The first of some ids, and how many more there are."""
    shown = ", ".join(repr(name) for name in list(ids)[:NUM_SHOWN])
    return shown + (f" and {len(ids) - NUM_SHOWN:,} more" if len(ids) > NUM_SHOWN else "")


def _file_labels(rows: Iterable[Row]) -> Iterable[tuple[str, Any, str]]:
    for number, (where, row) in enumerate(rows):
        if number >= MAX_ROWS:
            raise RequestError(f"{where}: more than {MAX_ROWS} rows", code="bad_data")
        if not isinstance(row, dict) or "label" not in row or is_absent(row.get("id")):
            raise RequestError(f"{where}: a known label needs the fields id and label", code="bad_data")
        yield str(row["id"]), row["label"], where


def _sequence_labels(known: Iterable[Any], examples: Sequence[Example]) -> list[tuple[str, Any, str]]:
    values = list(known)
    if len(values) != len(examples):
        raise RequestError(
            f"known: {counted(len(values), 'label')} for {counted(len(examples), 'example')}", code="bad_data"
        )
    return [
        (example.id, label, f"known, row {number}")
        for number, (example, label) in enumerate(zip(examples, values, strict=True), start=1)
    ]


def _check_ids(what: str, ids: Sequence[str], there: Collection[str]) -> None:
    twice = [name for name, num in Counter(ids).items() if num > 1]
    if twice:
        raise RequestError(f"{what}: more than one label for {named_ids(twice)}", code="bad_data")
    missing = [name for name in ids if name not in there]
    if missing:
        raise RequestError(f"{what}: no example has the id {named_ids(missing)}", code="bad_data")
