"""The labels to export: a run's examples with their labels, without the uncertain ones."""

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


def certain(labelled: Sequence[Labelled], min_margin: float | None, top: int | None) -> list[Labelled]:
    """The labels with at least this margin (nats), and of these the `top` most certain; the order is kept. A corrected
    label has any margin.

    Raises RequestError if none is left.
    """
    kept = [
        number
        for number, (_, row) in enumerate(labelled)
        if min_margin is None or row.margin >= min_margin or row.is_corrected
    ]
    if not kept:
        highest = max(row.margin for _, row in labelled)
        raise RequestError(f"--min-margin {min_margin:g} leaves no label: the highest margin is {highest:.3f} nats")
    if top is not None:
        kept = sorted(sorted(kept, key=lambda number: labelled[number].row.rank, reverse=True)[:top])
    return [labelled[number] for number in kept]
