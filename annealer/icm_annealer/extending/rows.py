"""One chunk of rows labelled: its reads, its scores, the rules, and the rows as they are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from icm_annealer.core.arrays import Array, Ints
from icm_annealer.core.label_balance import log_sums
from icm_annealer.core.objective import margins, normalized
from icm_annealer.data.examples import consistency_of
from icm_annealer.data.row_reader import ReadRow
from icm_annealer.data.task import Task
from icm_annealer.extending.calibration import Calibration, CoreFigures, held_by
from icm_annealer.extending.chunks import Chunk, examples_of, id_of, known_of, row_json
from icm_annealer.extending.row_scorer import RowScorer
from icm_client.contract.wire import Usage

NUM_DIGITS = 6


class Evidence(NamedTuple):
    """What the reads of some rows say."""

    scores: Array
    """[row, label]: calibrated, in nats."""
    log_mass: Array
    """[row]: the logarithm of the labels' total probability, the mean over the contexts."""
    is_read_again: npt.NDArray[np.bool_]
    """[row]: whether it was read behind all contexts."""
    usage: Usage


async def evidence_of(
    texts: Sequence[str], is_known: npt.NDArray[np.bool_], scorer: RowScorer, calibration: Calibration
) -> Evidence:
    """Reads all rows behind the first context, and those that it leaves unclear, unless their label is known, behind
    the others. Raises IcmError."""
    first = await scorer.score(texts, [calibration.first])
    scores = calibration.first_scores(first.logprobs[0])
    log_mass, usage = log_sums(first.logprobs[0], 1)[:, 0], first.usage
    again = calibration.is_unclear(scores) & ~is_known
    if again.any():
        more = await scorer.score([texts[number] for number in np.flatnonzero(again)], calibration.others)
        whole = np.empty((len(calibration.order), int(again.sum()), scores.shape[1]))
        whole[calibration.first] = first.logprobs[0][again]
        whole[calibration.others] = more.logprobs
        scores[again] = calibration.scores(whole)
        log_mass[again] = log_sums(whole, 2)[:, :, 0].mean(axis=0)
        usage += more.usage
    return Evidence(scores, log_mass, again, usage)


class Found(NamedTuple):
    """What was found for the rows of a chunk, [row] each."""

    labels: Ints
    probs: Array
    """[row, label]."""
    margin: Array
    log_mass: Array
    is_known: npt.NDArray[np.bool_]
    is_known_alike: npt.NDArray[np.bool_]
    is_unlike: npt.NDArray[np.bool_]
    is_unclear: npt.NDArray[np.bool_]
    contexts: Ints
    """How many contexts it was read behind; 0 in a search."""


class Labeller(Protocol):
    """What labels chunks, each by itself."""

    async def labelled(self, chunk: Chunk) -> LabelledChunk:
        """Raises the scorer's errors, and RequestError for a group that is too large for the rules."""


class LabelledChunk(NamedTuple):
    """The rows of both files, and the figures of the chunk's line in the journal."""

    labels: list[bytes]
    unlike: list[bytes]
    figures: dict[str, Any]
    usage: Usage


@dataclass(frozen=True)
class RowLabeller:
    """Labels chunks by one calibration."""

    task: Task
    scorer: RowScorer
    calibration: Calibration
    core: CoreFigures

    async def labelled(self, chunk: Chunk) -> LabelledChunk:
        """See `Labeller`."""
        known = known_of(chunk.rows, self.task)
        is_known = known >= 0
        found = await evidence_of([row.text for row in chunk.rows], is_known, self.scorer, self.calibration)
        labels = self.best(chunk.rows, found.scores, known)
        margin = margins(found.scores, labels)
        is_unlike = (found.log_mass < self.core.log_mass_below) & ~is_known
        is_unclear = (margin < self.core.margin_below) & ~is_known
        contexts = np.where(found.is_read_again, self.scorer.num_contexts, 1)
        is_alike = is_known & (found.scores.argmax(axis=1) == known)
        probs = np.exp(normalized(found.scores))
        everything = Found(labels, probs, margin, found.log_mass, is_known, is_alike, is_unlike, is_unclear, contexts)
        figures = {"num_read_again": int(found.is_read_again.sum())}
        return written(self.task, chunk, everything, figures, found.usage)

    def best(self, rows: Sequence[ReadRow], scores: Array, known: Ints) -> Ints:
        """The labels with the highest total score that keep the rules, exactly, with those `known` (-1 where none is)
        among them; `rows` hold whole groups."""
        held = held_by(scores, known)
        if not self.task.rules:
            labels: Ints = held.argmax(axis=1)
            return labels
        return consistency_of(self.task, examples_of(rows)).best(held)


def written(task: Task, chunk: Chunk, found: Found, figures: dict[str, Any], usage: Usage) -> LabelledChunk:
    """The chunk as it is written; `figures` are those of its line that only its labeller has."""
    labels, is_unlike, is_unclear = found.labels, found.is_unlike, found.is_unclear
    figures = figures | {
        "number": chunk.number,
        "num_rows": len(chunk.rows),
        "digest": chunk.digest,
        "counts": np.bincount(labels, minlength=len(task.labels)).tolist(),
        "num_unlike": int(is_unlike.sum()),
        "num_unclear": int((is_unclear & ~is_unlike).sum()),
        "num_known": int(found.is_known.sum()),
        "num_known_alike": int(found.is_known_alike.sum()),
        "margins": float(found.margin.sum()),
        "log_masses": float(found.log_mass.sum()),
        "log_masses_squared": float((found.log_mass**2).sum()),
    }
    names, has_group = task.label_names, task.group is not None
    numbers = zip(
        chunk.rows,
        labels.tolist(),
        np.round(found.probs, NUM_DIGITS).tolist(),
        np.round(found.margin, NUM_DIGITS).tolist(),
        np.round(np.exp(found.log_mass), NUM_DIGITS).tolist(),
        found.contexts.tolist(),
        found.is_known.tolist(),
        strict=True,
    )
    rows: list[bytes] = []
    for row, label, shares, above, mass, num, is_given in numbers:
        line = {
            "row": row.number,
            "id": row.id,
            "label": names[label],
            "certainty": 1.0 if is_given else shares[label],
            "known": is_given,
            "probs": dict(zip(names, shares, strict=True)),
            "margin": above,
            "label_mass": mass,
            "contexts": num,
        }
        if has_group:
            line["group"] = row.group
        rows.append(row_json(line))
    listed = [
        row_json(
            {
                **chunk.rows[number].facts,
                task.id: id_of(chunk.rows[number]),
                "_why": "unlike the core" if is_unlike[number] else "unclear",
                "_label": names[labels[number]],
                "_margin": round(float(found.margin[number]), NUM_DIGITS),
                "_label_mass": round(float(np.exp(found.log_mass[number])), NUM_DIGITS),
            }
        )
        for number in np.flatnonzero(is_unlike | is_unclear).tolist()
    ]
    return LabelledChunk(rows, listed, figures, usage)
