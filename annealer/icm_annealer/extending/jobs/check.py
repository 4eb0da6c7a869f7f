"""A random sample of the rows, labelled by a search of its own, whose labels are compared with those of the
extension, where none is known."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from icm_annealer.data.examples import Example, first_of
from icm_annealer.data.row_reader import ReadRow
from icm_annealer.evaluation.intervals import wilson
from icm_annealer.extending.core import Core
from icm_annealer.extending.jobs.own_search import OwnSearch, searched
from icm_annealer.runs.schema.extension import CheckLine
from icm_annealer.scoring.pass_event import PassEvent
from icm_annealer.scoring.passes import Scorer


async def checked(
    folder: Path,
    labels: Path,
    rows: Mapping[int, ReadRow],
    num: int,
    core: Core,
    scorer: Scorer,
    experiment: str,
    on_pass: Callable[[PassEvent], None],
) -> CheckLine:
    """Searches labels for the first `num` of `rows`, with the other members of their groups, in `folder`, a run of its
    own that is resumed if it was begun, with the core's settings. Compares them with those in the file `labels`, in
    whose lines, counted from 0, the rows are. Raises the errors of `label_dataset`.
    """
    names = core.task.label_names
    drawn = first_of([Example(str(line), row.text, row.group, row.facts) for line, row in rows.items()], num)
    examples = sorted(drawn, key=lambda example: int(example.id))
    known = {example.id: label for example in examples if (label := rows[int(example.id)].known) is not None}
    labelling = await searched(folder, OwnSearch.of(examples, known, core), core, scorer, experiment, on_pass)
    labels_found = labelling.run.labels[: len(examples)]
    found = {e.id: names[k] for e, k in zip(examples, labels_found, strict=True) if e.id not in known}
    extended = _labels_in(labels, {int(name) for name in found})
    num_alike = sum(extended[int(name)] == label for name, label in found.items())
    return CheckLine(num=len(found), agreement=wilson(num_alike, len(found)), verdict=labelling.run.verdict.name)


def _labels_in(labels: Path, lines: Collection[int]) -> dict[int, str]:
    """The labels in these lines of the file."""
    with labels.open(encoding="utf-8") as file:
        return {number: json.loads(line)["label"] for number, line in enumerate(file) if number in lines}
