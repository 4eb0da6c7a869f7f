"""The labels to export: a run's examples with their labels, and which of them are too uncertain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from icm_annealer.data.examples import Example
from icm_annealer.runs.schema.rows import LabelRow
from icm_client.contract.errors import RequestError


class Labelled(NamedTuple):
    """One example and its label."""

    example: Example
    row: LabelRow
    abstains: bool = False
    """Whether the label is too uncertain to be written."""

    @property
    def label(self) -> str | None:
        """The label's name; None if it is too uncertain."""
        return None if self.abstains else self.row.label


def most_certain(labelled: Sequence[Labelled], num: int) -> list[Labelled]:
    """The `num` most certain labels, in the order given."""
    ranked = sorted(range(len(labelled)), key=lambda number: labelled[number].row.rank, reverse=True)
    return [labelled[number] for number in sorted(ranked[:num])]


def abstaining(labelled: Sequence[Labelled], below: float) -> list[Labelled]:
    """Abstains from labels whose certainty is lower than `below`. Raises RequestError if no other is left."""
    highest = max(row.certainty for _, row, _ in labelled)
    if highest < below:
        raise RequestError(f"--abstain-below {below:g} leaves no label: the highest certainty is {highest:.3f}")
    return [one._replace(abstains=one.row.certainty < below) for one in labelled]
