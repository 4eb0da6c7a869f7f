"""A random sample of the rows, labelled by a search of its own, whose labels are compared with those of the
extension, where none is known."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from icm_annealer.data.examples import Example, first_of, groups_of
from icm_annealer.data.given_labels import GivenLabels
from icm_annealer.data.row_reader import ReadRow
from icm_annealer.evaluation.intervals import wilson
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

    A few of the core's most certain labels are known to the search: what a label is called is a convention, of which
    another search may find the opposite.
    """
    names = core.task.label_names
    drawn = first_of([Example(str(line), row.text, row.group, row.facts) for line, row in rows.items()], num)
    examples = sorted(drawn, key=lambda example: int(example.id))
    anchors = _anchors(core)
    known = {anchor.id: names[core.labels[number]] for number, anchor in anchors.items()}
    known |= {example.id: label for example in examples if (label := rows[int(example.id)].known) is not None}
    run = RunDir(folder)
    resume = (folder / JOURNAL).exists()
    run.prepare(resume=resume)
    labelling = await label_dataset(
        run,
        [*examples, *anchors.values()],
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
    found = {e.id: names[k] for e, k in zip(examples, labels_found, strict=True) if e.id not in known}
    extended = _labels_in(labels, {int(name) for name in found})
    num_alike = sum(extended[int(name)] == label for name, label in found.items())
    return CheckLine(num=len(found), agreement=wilson(num_alike, len(found)), verdict=labelling.run.verdict.name)


def _labels_in(labels: Path, lines: Collection[int]) -> dict[int, str]:
    """The labels in these lines of the file."""
    with labels.open(encoding="utf-8") as file:
        return {number: json.loads(line)["label"] for number, line in enumerate(file) if number in lines}


def _anchors(core: Core) -> dict[int, Example]:
    """The `ANCHORS` most certain examples of each label, of different groups, by their numbers in the core; and the
    other members of their groups, since rules hold in whole groups only."""
    chosen: dict[int, Example] = {}
    groups = {number: group for group in groups_of(core.examples) for number in group}
    for label in range(len(core.task.labels)):
        members = np.flatnonzero(core.labels == label)
        num = 0
        for number in members[np.argsort(core.rank[members])].tolist():
            if num < ANCHORS and number not in chosen:
                group = groups[number]
                for each in group:
                    chosen[each] = replace(core.examples[each], id=f"core {each}", group=f"core {group[0]}")
                num += 1
    return chosen
