"""A search over some rows by themselves, with the core's settings and a few of its labels."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from icm_annealer.data.examples import Example, groups_of
from icm_annealer.data.given_labels import GivenLabels
from icm_annealer.extending.core import Core
from icm_annealer.labelling.label_dataset import Labelling, label_dataset
from icm_annealer.runs.directory import JOURNAL, RunDir
from icm_annealer.scoring.pass_event import PassEvent
from icm_annealer.scoring.passes import Scorer

ANCHORS = 2
"""Known labels of the core, for each label."""


class OwnSearch(NamedTuple):
    """What a search labels besides rows: a few of the core's most certain labels are known to it, since what a label is
    called is a convention, of which another search may find the opposite."""

    examples: list[Example]
    known: dict[str, str]
    """Labels by id, which stay."""

    @classmethod
    def of(
        cls, examples: Sequence[Example], known: Mapping[str, str], core: Core, shared: Iterable[int] = ()
    ) -> OwnSearch:
        """A search over `examples`, of which some labels are `known`. Behind them stand `shared` examples of the core,
        by number, whose labels are searched, too, and those whose labels it knows."""
        anchors, names = anchors_of(core), core.task.label_names
        known = {**known, **{anchor.id: names[core.labels[number]] for number, anchor in anchors.items()}}
        return cls([*examples, *(copied(core, number) for number in shared), *anchors.values()], known)


async def searched(
    folder: Path,
    search: OwnSearch,
    core: Core,
    scorer: Scorer,
    experiment: str,
    on_pass: Callable[[PassEvent], None] = lambda event: None,
) -> Labelling:
    """Searches labels in `folder`, a run of its own that is resumed if it was begun, with the core's settings. Raises
    the errors of `label_dataset`."""
    run = RunDir(folder)
    resume = (folder / JOURNAL).exists()
    run.prepare(resume=resume)
    try:
        return await label_dataset(
            run,
            search.examples,
            core.task,
            scorer,
            core.settings,
            given=GivenLabels(search.known),
            resume=resume,
            on_pass=on_pass,
            experiment=experiment,
        )
    finally:
        run.release()


def anchors_of(core: Core) -> dict[int, Example]:
    """The `ANCHORS` most certain examples of each label, of different groups, by their numbers in the core; and the
    other members of their groups, since rules hold in whole groups only."""
    chosen: dict[int, Example] = {}
    groups = {number: group for group in groups_of(core.examples) for number in group}
    for label in range(len(core.task.labels)):
        members = np.flatnonzero(core.labels == label)
        num = 0
        for number in members[np.argsort(core.rank[members])].tolist():
            if num < ANCHORS and number not in chosen:
                chosen |= {each: copied(core, each) for each in groups[number]}
                num += 1
    return chosen


def copied(core: Core, number: int) -> Example:
    """An example of the core beside rows, whose ids and groups may be the same."""
    example = core.examples[number]
    group = None if example.group is None else f"core {example.group}"
    return replace(example, id=f"core {number}", group=group)
