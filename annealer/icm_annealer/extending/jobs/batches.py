"""The paper's way to many rows: an independent search over each batch of them.

Every search also labels the same few examples of the core, so that their labels can be compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from icm_annealer.core.arrays import Ints
from icm_annealer.data.examples import groups_of
from icm_annealer.extending.chunks import Chunk, examples_of
from icm_annealer.extending.core import Core
from icm_annealer.extending.extend import By, Searches
from icm_annealer.extending.jobs.own_search import OwnSearch, anchors_of, searched
from icm_annealer.extending.row_scorer import NoScorer
from icm_annealer.extending.rows import Found, LabelledChunk, written
from icm_annealer.extending.settings import ExtendSettings
from icm_annealer.extending.spread import Spread
from icm_annealer.runs.costs import read_costs, spent
from icm_annealer.runs.directory import RunDir
from icm_annealer.runs.record import RunRecord
from icm_annealer.runs.schema.extension import ChunkLine, SharedLabels
from icm_annealer.runs.schema.journal import ContextWindow
from icm_annealer.scoring.passes import WINDOW_MARGIN, Scorer, check_request, window_of

BATCH_ROWS = 256
"""Rows of a search, as in the paper."""
NUM_SHARED = 16
"""Examples of the core that every search labels, at least; with their groups."""
BATCHES = "batches"
"""The folder of the searches' runs."""
LEAST_MASS = 1e-12


async def by_batches(scorer: Scorer, core: Core, settings: ExtendSettings, experiment: str) -> By:
    """Rows by searches of their own, with the core's settings; a row has to fit the model's window by itself. Raises
    the scorer's errors."""
    check_request(core.task, experiment)
    model, spread = await scorer.model(), Spread(scorer)

    def labeller(folder: RunDir) -> BatchLabeller:
        return BatchLabeller(core, spread, folder / BATCHES, experiment, shared_of(core, settings.seed))

    most = model.max_prompt_tokens - int(model.adds_bos) - WINDOW_MARGIN
    window, searches = ContextWindow(**window_of(model)), Searches(BATCH_ROWS, labeller)
    return By(NoScorer(), model.identity, scorer, most, window=window, searches=searches, num_scorers=len(spread))


def shared_of(core: Core, seed: int) -> list[int]:
    """The core's examples that every search labels, in whole groups, apart from those whose labels it knows."""
    anchors, chosen = anchors_of(core), list[int]()
    groups = [group for group in groups_of(core.examples) if not set(group) & set(anchors)]
    for number in np.random.default_rng(seed).permutation(len(groups)).tolist():
        if len(chosen) < NUM_SHARED:
            chosen += groups[number]
    return sorted(chosen)


def search_of(chunk: Chunk, core: Core, shared: Sequence[int]) -> OwnSearch:
    """The search over a batch; the ids of its rows are their numbers in it."""
    examples = [replace(example, id=str(k)) for k, example in enumerate(examples_of(chunk.rows))]
    known = {str(k): row.known for k, row in enumerate(chunk.rows) if row.known is not None}
    return OwnSearch.of(examples, known, core, shared)


@dataclass(frozen=True)
class BatchLabeller:
    """Labels each chunk by a search of its own, by one scorer, in a run's folder of its own."""

    core: Core
    spread: Spread
    folder: Path
    experiment: str
    shared: Sequence[int]

    async def labelled(self, chunk: Chunk) -> LabelledChunk:
        """See `Labeller`."""
        place = self.folder / f"{chunk.number:06d}"
        search = search_of(chunk, self.core, self.shared)
        with self.spread.one() as scorer:
            labelling = await searched(place, search, self.core, scorer, self.experiment)
        num, names = len(chunk.rows), self.core.task.label_names
        rows = RunRecord.read(place).rows()[:num]
        labels: Ints = np.array([names.index(row.label) for row in rows], dtype=np.int64)
        probs = np.array([list(row.probs.values()) for row in rows])
        is_known = np.array([row.known is not None for row in chunk.rows])
        never = np.zeros(num, dtype=bool)
        found = Found(
            labels=labels,
            probs=probs,
            margin=np.array([row.margin for row in rows]),
            log_mass=np.log(np.maximum([row.label_mass for row in rows], LEAST_MASS)),
            is_known=is_known,
            is_known_alike=is_known & (probs.argmax(axis=1) == labels),
            is_unlike=never,
            is_unclear=never,
            contexts=np.zeros(num, dtype=np.int64),
        )
        shared = labelling.run.labels[num : num + len(self.shared)]
        figures = {"num_read_again": 0, "shared": [int(label) for label in shared]}
        return written(self.core.task, chunk, found, figures, spent(read_costs(place)).usage)


def shared_labels(chunks: Sequence[ChunkLine], core: Core, seed: int) -> SharedLabels | None:
    """How far the searches agree on the shared examples; None without searches, and without shared examples."""
    found = np.array([chunk.shared for chunk in chunks if chunk.shared])
    if not found.size:
        return None
    num_searches, pairs = len(found), len(found) * (len(found) - 1)
    counts = np.stack([(found == label).sum(axis=0) for label in range(len(core.task.labels))])
    alike = float(((counts * (counts - 1)).sum(axis=0) / pairs).mean()) if pairs else 1.0
    same = float((found == core.labels[shared_of(core, seed)]).mean())
    return SharedLabels(num=found.shape[1], num_searches=num_searches, with_each_other=alike, with_core=same)
