"""A random sample of the rows, labelled by a search of its own, whose labels are compared with those of the
extension."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from icm_annealer.data.examples import Example
from icm_annealer.data.given_labels import GivenLabels
from icm_annealer.data.row_reader import ReadRow
from icm_annealer.evaluation.intervals import wilson
from icm_annealer.extending.chunks import id_of
from icm_annealer.extending.core import Core
from icm_annealer.labelling.label_dataset import label_dataset
from icm_annealer.runs.directory import JOURNAL, RunDir
from icm_annealer.runs.schema.extension import CheckLine
from icm_annealer.scoring.pass_event import PassEvent
from icm_annealer.scoring.passes import Scorer

ANCHORS = 2
"""Known labels of the core, for each label."""


async def checked(
    folder: Path,
    labels: Path,
    rows: Sequence[ReadRow],
    core: Core,
    scorer: Scorer,
    experiment: str,
    on_pass: Callable[[PassEvent], None],
) -> CheckLine:
    """Searches labels for `rows` in `folder`, a run of its own that is resumed if it was begun, with the core's
    settings, and compares them with those in the file `labels`. Raises the errors of `label_dataset`.

    A few of the core's most certain labels are known to the search: what a label is called is a convention, of which
    another search may find the opposite.
    """
    names = core.task.label_names
    by_number = {row.number: row for row in rows}
    examples = [Example(str(number), row.text, row.group, row.facts) for number, row in sorted(by_number.items())]
    anchors = {f"core {number}": number for number in _anchors(core)}
    known = {name: names[core.labels[number]] for name, number in anchors.items()}
    of_core = [replace(core.examples[number], id=name, group=f"core {number}") for name, number in anchors.items()]
    run = RunDir(folder)
    resume = (folder / JOURNAL).exists()
    run.prepare(resume=resume)
    labelling = await label_dataset(
        run,
        [*examples, *of_core],
        core.task,
        scorer,
        core.settings,
        given=GivenLabels(known),
        resume=resume,
        on_pass=on_pass,
        experiment=experiment,
    )
    run.release()
    labels_found = labelling.run.labels[: len(examples)]
    found = {example.id: names[label] for example, label in zip(examples, labels_found, strict=True)}
    ids = {id_of(row) for row in rows}
    extended: dict[str, str] = {}
    with labels.open(encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            if row["id"] in ids:
                extended[row["id"]] = row["label"]
    num_alike = sum(found[str(row.number)] == extended[id_of(row)] for row in rows)
    return CheckLine(num=len(rows), agreement=wilson(num_alike, len(rows)), verdict=labelling.run.verdict.name)


def _anchors(core: Core) -> list[int]:
    """The `ANCHORS` most certain examples of each label, of different groups."""
    chosen: list[int] = []
    groups: set[str] = set()
    for label in range(len(core.task.labels)):
        members = np.flatnonzero(core.labels == label)
        num = 0
        for number in members[np.argsort(core.rank[members])].tolist():
            group = core.examples[number].group
            if num < ANCHORS and group not in groups:
                chosen.append(number)
                groups |= {group} if group is not None else set()
                num += 1
    return chosen
