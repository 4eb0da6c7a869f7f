"""What labels go with besides the concept: length, position, source. Notes, since each of them can be genuine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from icm_annealer.core.arrays import Ints
from icm_annealer.data.examples import Example
from icm_annealer.labelling.alarm import Alarm

MAX_CORRELATION = 0.5
MIN_FOR_NEIGHBOURS = 16
MAX_NEIGHBOUR_Z = 4.0


def surface_alarms(labels: Ints, examples: Sequence[Example]) -> list[Alarm]:
    """Everything on the surface that `labels` go with."""
    return [*_length_and_position(labels, examples), *_source(labels, examples), *_neighbours(labels)]


def _length_and_position(labels: Ints, examples: Sequence[Example]) -> Iterator[Alarm]:
    lengths = np.array([len(example.text) for example in examples], dtype=float)
    positions = np.arange(len(examples), dtype=float)
    for code, name, values in (("length", "text length", lengths), ("position", "position in the data", positions)):
        for label in range(int(labels.max()) + 1):
            member = (labels == label).astype(float)
            if values.std() and member.std():
                correlation = float(np.corrcoef(values, member)[0, 1])
                if abs(correlation) > MAX_CORRELATION:
                    yield Alarm(
                        f"surface-{code}",
                        "note",
                        f"The labels go with {name} (correlation {correlation:.2f}).",
                        "That can be genuine; if not, the search has found this instead of the concept.",
                    )
                    break


def _source(labels: Ints, examples: Sequence[Example]) -> Iterator[Alarm]:
    """Labels that go with the rows' field `source`, by Cramér's V."""
    sources = [str(example.facts.get("source", "")) for example in examples]
    names = sorted(set(sources))
    if not 1 < len(names) <= len(sources) / 4:
        return
    numbers = np.array([names.index(source) for source in sources])
    counts = np.zeros((len(names), int(labels.max()) + 1))
    np.add.at(counts, (numbers, labels), 1)
    counts = counts[:, counts.sum(axis=0) > 0]
    if counts.shape[1] < 2:
        return
    expected = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0, keepdims=True) / counts.sum()
    strength = float(np.sqrt(((counts - expected) ** 2 / expected).sum() / counts.sum() / (min(counts.shape) - 1)))
    if strength > MAX_CORRELATION:
        yield Alarm(
            "surface-source",
            "note",
            f"The labels go with the rows' source (Cramér's V {strength:.2f}).",
            "That can be genuine; if not, the search has found this instead of the concept.",
        )


def _neighbours(labels: Ints) -> Iterator[Alarm]:
    """More pairs of neighbours in the data labelled alike than a shuffle of the labels would show."""
    if len(labels) < MIN_FOR_NEIGHBOURS:
        return
    alike = int((labels[1:] == labels[:-1]).sum())
    rng = np.random.default_rng(0)
    shuffled = np.array([(s[1:] == s[:-1]).sum() for s in (rng.permutation(labels) for _ in range(1000))])
    if alike > shuffled.mean() + MAX_NEIGHBOUR_Z * max(float(shuffled.std()), 0.5):
        yield Alarm(
            "neighbours-alike",
            "note",
            f"{alike} of {len(labels) - 1} neighbours in the data have the same label; {shuffled.mean():.0f} would by "
            "chance.",
            "If the data are not sorted by what they are, the order was labelled: shuffle them and run again.",
        )
