"""The parts of `icm eval --model` and `icm extend --by` that need torch."""

from __future__ import annotations

import os
from pathlib import Path

from icm_annealer.data.rows import ReadAs
from icm_annealer.data.task import Task
from icm_annealer.evaluation.subject import Subject
from icm_annealer.extending.extend import By
from icm_server.engines.model_store import Progress
from icm_trainer.cli.options import CACHE, prepare_torch
from icm_trainer.models.device import chosen_device
from icm_trainer.sft.judged import tuned_rows, tuned_subject
from icm_trainer.sft.record import SftRecord, read_record, read_training


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


def labelled_by(folder: Path, task: Task, say: Progress) -> By:
    """See `tuned_rows`. Raises RequestError, also if a library is missing."""
    read_record(folder, SftRecord)
    prepare_torch("icm extend --by")
    return tuned_rows(folder, task, Path(os.environ.get("ICM_CACHE", CACHE)), chosen_device("auto"), say)
