"""The folder of a tuned model: made ready before a training, and filled after it."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from icm_annealer.runs.atomic_write import check_writable
from icm_annealer.runs.directory import EVALUATION, RunDir
from icm_annealer.runs.lock import LOCK, hold
from icm_annealer.runs.schema.base import Record, read_file
from icm_client.contract.errors import RequestError
from icm_trainer.learning.checkpoint import remove_checkpoint
from icm_trainer.models.lora import merged_model
from icm_trainer.sft.record import (
    CARD,
    CHECKPOINT,
    LABELS_USED,
    MERGED,
    PAIRS_USED,
    PROMPTS_USED,
    TRAINING,
    TrainingRecord,
)

PARTIAL = ".partial"
TOKENIZER_FILES = ("tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt", "*.model")
MEASURED = (EVALUATION, "rl-eval*.json", "rl.html", "rm-eval.json")
"""What other commands measured of the model that is removed."""
WEIGHTS = ("*.safetensors", "*.safetensors.index.json", "config.json", "generation_config.json", "adapter_config.json")


class Ready(NamedTuple):
    """The folder of a training that can begin, or go on."""

    has_ended: bool
    """Whether it holds the result already."""
    replaces: bool
    """Whether it holds another model, which stays there until `begin_training`."""


def prepare_folder(
    out: Path, record: TrainingRecord, used: Iterable[Record], *, resume: bool, overwrite: bool
) -> Ready:
    """Locks the folder for this process, and begins the training there unless it replaces a model. With both options it
    resumes, as a run does.

    Raises RequestError if the folder holds something else, another training, or one that was not to be touched.
    """
    check_folder(out)
    if resume and not (out / TRAINING).is_file():
        raise RequestError(f"{out}: there is no training to resume", code="no_model")
    check_writable(out / TRAINING)
    hold(out)
    there = None if overwrite and not resume else _there(out, record)
    if there is not None:
        if not resume:
            raise _holds_a_model(out)
        _check_same(out, there, record)
        if not (out / record.used_file).is_file():
            RunDir(out).write_rows(record.used_file, used)
        return Ready(there.result is not None, replaces=False)
    if overwrite and (out / TRAINING).is_file():
        return Ready(has_ended=False, replaces=True)
    check_free(out)
    begin_training(out, record, used)
    return Ready(has_ended=False, replaces=False)


def begin_training(out: Path, record: TrainingRecord, used: Iterable[Record]) -> None:
    """Removes the model that the folder holds, if any, and writes the record and what is given."""
    remove_model(out)
    folder = RunDir(out)
    folder.write(TRAINING, record)  # first: by it, a process that is killed here is resumed
    folder.write_rows(record.used_file, used)


def check_apart(out: Path, used: Path, what: str) -> None:
    """Raises RequestError if `out` is the folder of what a training reads, or holds it, so that replacing what is in
    `out` would remove it."""
    if out.resolve() in (used.resolve(), *used.resolve().parents):
        raise RequestError(f"{out} holds {what}, which is needed: use another --out", code="model_exists")


def check_free(out: Path) -> None:
    """Raises RequestError if `out` is no folder for a new model: a file, or one that holds anything already."""
    check_folder(out)
    others = sorted(path.name for path in out.iterdir() if path.name != LOCK) if out.exists() else []
    if TRAINING in others:
        raise _holds_a_model(out)
    if others:
        raise RequestError(f"{out} holds {others[0]} of something else; use another --out", code="model_exists")


def check_folder(out: Path) -> None:
    """Raises RequestError if `out` is a file."""
    if out.exists() and not out.is_dir():
        raise RequestError(f"{out} is a file, not a folder for a model", code="model_exists")


def _holds_a_model(out: Path) -> RequestError:
    return RequestError(
        f"{out} already holds a model; use --resume to continue its training, --overwrite to replace it, or another "
        "--out",
        code="model_exists",
    )


def remove_model(out: Path) -> None:
    """Removes what a training writes, and what was measured of it, and nothing else."""
    remove_checkpoint(out / CHECKPOINT)
    shutil.rmtree(out / MERGED, ignore_errors=True)
    shutil.rmtree(out / PARTIAL, ignore_errors=True)
    for pattern in (TRAINING, LABELS_USED, PAIRS_USED, PROMPTS_USED, CARD, *MEASURED, *WEIGHTS, *TOKENIZER_FILES):
        for path in out.glob(pattern):
            path.unlink()


def save_weights(model: Any, base: Path, out: Path, dtype: str | None) -> None:
    """Moves the weights into `out` when all are written, with the base's tokenizer beside them. `dtype` rounds them;
    None keeps an adapter as it is, in float32."""
    import torch

    partial = out / PARTIAL
    shutil.rmtree(partial, ignore_errors=True)
    if dtype is None:
        model.save_pretrained(partial, save_embedding_layers=False)
    else:
        model.to(getattr(torch, dtype)).save_pretrained(partial)
    for pattern in TOKENIZER_FILES:
        for path in base.glob(pattern):
            shutil.copyfile(path, partial / path.name)
    for path in base.glob("*.jinja"):
        shutil.copyfile(path, partial / path.name)
    for path in partial.iterdir():
        if path.name != CARD:  # peft's own, which says nothing
            path.chmod(0o644)  # a scorer may run as another user
            path.replace(out / path.name)
    shutil.rmtree(partial)


def merge(out: Path, record: TrainingRecord, base: Path) -> Path:
    """Writes the base model with the adapter of `out` merged into it to `out/merged`, in the type of the base, and
    returns that folder."""
    target = out / MERGED
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    save_weights(merged_model(base, out), base, target, record.base.dtype)
    return target


def _there(out: Path, asked: TrainingRecord) -> TrainingRecord | None:
    """The record in the folder, if there is one. Raises RequestError for one of another kind."""
    found = read_file(out / TRAINING, TrainingRecord)
    if found is not None and found.kind != asked.kind:
        raise RequestError(
            f"{out} holds a model of `icm train {found.kind}`: use another --out, or --overwrite", code="model_exists"
        )
    return found and read_file(out / TRAINING, type(asked))


def _check_same(out: Path, there: TrainingRecord, asked: TrainingRecord) -> None:
    """Raises RequestError if a training is to be resumed with other labels, another base or other settings."""
    for what, left, right in (
        ("another base model", there.base.digest, asked.base.digest),
        ("another task", there.task.seen(), asked.task.seen()),
        (f"other {there.given}", there.digest, asked.digest),
        *(
            (f"another setting {name}", value, getattr(asked.settings, name))
            for name, value in there.settings.model_dump().items()
        ),
    ):
        if left != right:
            raise RequestError(
                f"{out}: the training to resume has {what}"
                + (f" ({left}, now {right})" if what.startswith("another setting") else "")
                + ": give the same options as before, or --overwrite",
                code="other_training",
            )
