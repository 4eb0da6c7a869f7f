"""The models of an assistant whose labels are replaced."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from icm_annealer.runs.directory import JOURNAL
from icm_trainer.rl.story import JUDGE, LABELS, Branch, policy_folder, reward_folder
from icm_trainer.sft.record import TRAINING
from icm_trainer.sft.saving import remove_model


@contextlib.contextmanager
def replacing(out: Path, there: Sequence[Branch]) -> Iterator[None]:
    """Removes the models of the assistant in `out` if, within the context, other labels take the place of its labels.
    They learnt from those, so an assistant that is stopped later must not continue them."""
    before = _state(out / LABELS / JOURNAL)
    try:
        yield
    finally:
        if before is not None and _state(out / LABELS / JOURNAL) != before:
            folders = [place(out, branch) for branch in there for place in (reward_folder, policy_folder)]
            for folder in [*folders, out / JUDGE]:
                if (folder / TRAINING).is_file():
                    remove_model(folder)


def _state(file: Path) -> tuple[int, int] | None:
    """What tells a file from another one that takes its place; None if there is none."""
    if not file.is_file():
        return None
    found = file.stat()
    return found.st_ino, found.st_mtime_ns
