"""Measures what a model has learnt: its accuracy after shots that are labelled by one concept."""

from __future__ import annotations

from typing import Any

import numpy as np

from icm_lab.corpus import gold_documents
from icm_lab.model import answers
from icm_lab.worlds import worlds

EXAMINED_SHOTS = 1024
EXAM_SEED = 1_000_003


def examine(model: Any, num_shots: int, examined_shots: int = EXAMINED_SHOTS) -> dict[str, list[float]]:
    """Accuracy without a shot and in the last quarter of `num_shots`, for each world and concept (`world/concept`).

    Of documents that are labelled without a mistake, as many as hold `examined_shots`.
    """
    found = {}
    for world in worlds().values():
        for concept in world.concepts:
            rng = np.random.default_rng(EXAM_SEED)
            documents = gold_documents(world, concept, max(1, examined_shots // num_shots), num_shots, rng)
            right = (answers(model, documents) > 0) == documents.labels
            late = right[:, -max(1, num_shots // 4) :].mean()
            found[f"{world.name}/{concept}"] = [round(float(right[:, 0].mean()), 3), round(float(late), 3)]
    return found
