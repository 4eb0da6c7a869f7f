"""Alarms about correlations of labels with length, position and source. Notes, since each can be genuine."""

from __future__ import annotations

import numpy as np

from icm_annealer.core.arrays import Array, Ints
from icm_annealer.labelling.alarm import AlarmText, FinishedSearch

MAX_CORRELATION = 0.5
MIN_FOR_NEIGHBOURS = 16
MAX_NEIGHBOUR_Z = 4.0
TRY = "If this is not a property of the data, the search has found it instead of the concept."


def length(search: FinishedSearch) -> AlarmText | None:
    lengths = np.array([len(example.text) for example in search.examples], dtype=float)
    return _correlated(search.result.winner.labels, "text length", lengths)


def position(search: FinishedSearch) -> AlarmText | None:
    positions = np.arange(len(search.examples), dtype=float)
    return _correlated(search.result.winner.labels, "position in the data", positions)


def _correlated(labels: Ints, name: str, values: Array) -> AlarmText | None:
    for label in range(int(labels.max()) + 1):
        member = (labels == label).astype(float)
        if values.std() and member.std():
            correlation = float(np.corrcoef(values, member)[0, 1])
            if abs(correlation) > MAX_CORRELATION:
                return AlarmText(f"The labels correlate with {name} (correlation {correlation:.2f}).", TRY)
    return None


def source(search: FinishedSearch) -> AlarmText | None:
    """The association of labels with the rows' field `source`, by Cramér's V."""
    labels = search.result.winner.labels
    sources = [str(example.fields.get("source", "")) for example in search.examples]
    names = sorted(set(sources))
    if not 1 < len(names) <= len(sources) / 4:
        return None
    numbers = np.array([names.index(source) for source in sources])
    counts = np.zeros((len(names), int(labels.max()) + 1))
    np.add.at(counts, (numbers, labels), 1)
    counts = counts[:, counts.sum(axis=0) > 0]
    if counts.shape[1] < 2:
        return None
    expected = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0, keepdims=True) / counts.sum()
    strength = float(np.sqrt(((counts - expected) ** 2 / expected).sum() / counts.sum() / (min(counts.shape) - 1)))
    if strength <= MAX_CORRELATION:
        return None
    return AlarmText(f"The labels correlate with the rows' source (Cramér's V {strength:.2f}).", TRY)


def neighbours_alike(search: FinishedSearch) -> AlarmText | None:
    """Whether neighbours in the data have the same label more often than after shuffling the labels."""
    labels = search.result.winner.labels
    if len(labels) < MIN_FOR_NEIGHBOURS:
        return None
    alike = int((labels[1:] == labels[:-1]).sum())
    mean, deviation = alike_by_chance(np.bincount(labels))
    if alike <= mean + MAX_NEIGHBOUR_Z * max(deviation, 0.5):
        return None
    return AlarmText(
        f"{alike} of {len(labels) - 1} neighbours in the data have the same label; {mean:.0f} would by chance.",
        "If the data are not sorted, labels follow their order instead of the texts: shuffle the file and run again.",
    )


def alike_by_chance(counts: Ints) -> tuple[float, float]:
    """The mean and the standard deviation of the number of neighbours with the same label, over all orders of examples
    of which `counts` [C] have each label (the runs test for several kinds, Mood 1940)."""
    num = float(counts.sum())
    squares, cubes = (float((counts.astype(float) ** power).sum()) for power in (2, 3))
    variance = (squares * (squares + num * (num + 1)) - 2 * num * cubes - num**3) / (num**2 * (num - 1))
    return (squares - num) / num, max(variance, 0.0) ** 0.5
