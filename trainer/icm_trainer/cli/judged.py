"""The part of `icm eval --model` that needs torch."""

from __future__ import annotations

import os
from pathlib import Path

from icm_annealer.data.rows import ReadAs
from icm_annealer.evaluation.subject import Subject
from icm_server.engines.model_store import Progress
from icm_trainer.cli.options import CACHE, prepare_torch
from icm_trainer.models.device import chosen_device
from icm_trainer.sft.judged import tuned_subject
from icm_trainer.sft.record import read_training


def judged_model(
    folder: Path,
    task: str | None,
    data: str | None,
    test: str | None,
    say: Progress,
    *,
    allow_code: bool,
    how: ReadAs,
) -> Subject:
    """See `tuned_subject`. Raises RequestError, also if a library is missing."""
    read_training(folder)
    prepare_torch("icm eval --model")
    cache, device = Path(os.environ.get("ICM_CACHE", CACHE)), chosen_device("auto")
    return tuned_subject(folder, task, data, test, cache=cache, device=device, say=say, allow_code=allow_code, how=how)


def base_scorer(folder: Path) -> str:
    """The name of a scorer for the model that the one in `folder` was made of. Raises RequestError."""
    return f"local:{read_training(folder).base.name}"
