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
    """The labels with at least this margin (nats), and of these the `top` most certain; the order is kept.

    Raises RequestError if none is left.
    """
    kept = [i for i, (_, row) in enumerate(labelled) if min_margin is None or row.margin >= min_margin]
    if not kept:
        highest = max(row.margin for _, row in labelled)
        raise RequestError(f"--min-margin {min_margin:g} leaves no label: the highest margin is {highest:.3f} nats")
    if top is not None:
        kept = sorted(sorted(kept, key=lambda i: -labelled[i].row.margin)[:top])
    return [labelled[i] for i in kept]
