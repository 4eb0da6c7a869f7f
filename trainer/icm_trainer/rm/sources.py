"""Reads what a reward model learns from: labels of any origin, or a file of preferences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from icm_annealer.data.examples import Example, first_of
from icm_annealer.data.task import Task, load_task
from icm_annealer.evaluation.run_evaluation import not_labelled
from icm_annealer.export.reading import better_label
from icm_client.contract.errors import RequestError
from icm_trainer.rm.pairing import GOOD, Pairing, PairOptions, pairing_of
from icm_trainer.rm.pairs import PairSet
from icm_trainer.rm.preference_file import CONVERSATION, holds_preferences, read_preferences
from icm_trainer.sft.labelled import LabelSet, Origin
from icm_trainer.sft.pool import read_pool
from icm_trainer.sft.sources import LabelOptions, read_labels


@dataclass(frozen=True)
class Labels:
    """Labels, and how they become pairs."""

    given: LabelSet
    pairing: Pairing

    @property
    def share(self) -> float:
        """How many of the labels say that a text is good."""
        return sum(row.label == self.pairing.better for row in self.given.rows) / len(self.given.rows)


@dataclass(frozen=True)
class Given:
    """What the options name."""

    pairs: PairSet
    options: PairOptions
    labels: Labels | None
    """None for a file of preferences."""

    @property
    def of_task(self) -> Task | None:
        return self.labels.given.task if self.labels else None


def read_given(options: LabelOptions, how: PairOptions, narrow: Callable[[LabelSet], LabelSet]) -> Given:
    """The pairs that the options name; `narrow` takes a part of the labels. Raises RequestError."""
    if holds_preferences(options.source):
        return _of_preferences(options, how)
    labels = narrow(read_labels(options))
    labels.check()
    examples = [row.example for row in labels.rows]
    pairing = pairing_of(labels.task, examples, how)
    pairs = pairing.by_labels(labels.rows)
    found = PairSet(
        pairing.form,
        pairing.better,
        pairs,
        labels.origin,
        len(pairs),
        f"of {len(labels.rows):,} labels none is a good one that stands against another ({labels.counts})",
    )
    return Given(found, how, Labels(labels, pairing))


def _of_preferences(options: LabelOptions, how: PairOptions) -> Given:
    assert options.source is not None
    if options.from_gold or options.field:
        raise RequestError(f"{options.source} holds pairs, not labels: leave out --from-gold and --field")
    if how.kind or how.response or how.prompt:
        raise RequestError(f"{options.source} holds pairs, not labels: leave out --pairing, --response and --prompt")
    if options.task is None:
        form, better = CONVERSATION, GOOD
    else:
        form = load_task(options.task, allow_code=options.allow_code).task
        better = better_label(form, how.better)
    pairs = read_preferences(options.source, form)
    origin = Origin(kind="file", text=f"read from {options.source}")
    return Given(
        PairSet(form, better, pairs, origin, len(pairs), "all chosen texts are equal to the rejected ones"), how, None
    )


def rest_of(options: LabelOptions, labels: LabelSet, num: int) -> Sequence[Example]:
    """The first `num` rows of the labels' data that have no label yet, with the other members of their groups. Raises
    RequestError if there are none."""
    left = not_labelled(read_pool(options, labels.task), [row.example for row in labels.rows])
    if not left:
        raise RequestError("--two-stage: all rows of the data have a label already; name others with --data")
    return first_of(left, num)
