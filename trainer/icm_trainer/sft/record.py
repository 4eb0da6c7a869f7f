"""`training.json` and `labels.jsonl` in a tuned model's folder: how it was made, and of which labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal, TypeVar

import pydantic
from pydantic import Field, field_serializer

from icm_annealer.data.examples import Example
from icm_annealer.data.rows import read_rows
from icm_annealer.data.task import Task
from icm_annealer.runs.schema.base import Record, Versioned, read_file
from icm_client.contract.errors import RequestError
from icm_trainer.learning.checkpoint import LogRow
from icm_trainer.sft.labelled import LabelledExample, Origin
from icm_trainer.sft.settings import SftSettings, TrainingSettings

TRAINING, LABELS_USED, CARD, MERGED, CHECKPOINT = "training.json", "labels.jsonl", "README.md", "merged", "checkpoint"
PAIRS_USED, PROMPTS_USED = "pairs.jsonl", "prompts.jsonl"


class BaseRecord(Record):
    """The model that was tuned."""

    name: str
    folder: str
    digest: str
    """Of its files."""
    dtype: str
    """Of its weights on disk."""


class LabelsRecord(Record):
    """The labels given."""

    digest: str
    origin: Origin
    counts: dict[str, int]
    """Label name -> rows."""
    num_held_out: int
    """How many of them were not learnt from, and told when to stop."""
    num_left_out: int
    """Rows without a label, or with one that was not certain enough."""
    num_cut: int = 0
    """Texts that lost their beginning."""


class TrainingResult(Record):
    """How a training ended."""

    steps: int
    """Steps done."""
    best: int | None
    """The step whose weights were kept; None for the last."""
    seconds: float
    log: list[LogRow]

    @property
    def kept(self) -> LogRow:
        """What was seen at the step whose weights were kept."""
        return next(row for row in self.log if row.step == (self.best or self.steps))


class TrainingRecord(Versioned):
    """How a model was tuned, whatever it learnt. All but `result` must be the same when a training is resumed."""

    what: ClassVar[str] = "tuned model"
    """What the folder holds, for a person."""
    given: ClassVar[str] = "labels"
    """What it is made of."""
    used_file: ClassVar[str] = LABELS_USED
    """The file that holds what was given."""

    kind: str
    base: BaseRecord
    task: Task
    settings: TrainingSettings
    versions: dict[str, str]
    """Of the libraries that computed."""
    num_steps: int = Field(ge=1)
    """Steps without an early stop."""
    result: TrainingResult | None = None

    @field_serializer("task")
    def _seen(self, task: Task) -> dict[str, Any]:
        return task.seen()

    @property
    def digest(self) -> str:
        """Of what was given."""
        raise NotImplementedError


RecordT = TypeVar("RecordT", bound=TrainingRecord)
LineT = TypeVar("LineT", bound=Record)


class ReaderRecord(TrainingRecord):
    """How a model was tuned that reads texts of `task` and answers its labels."""

    settings: SftSettings


class SftRecord(ReaderRecord):
    """How a classifier was fine-tuned."""

    what: ClassVar[str] = "classifier"
    kind: Literal["sft"] = "sft"
    labels: LabelsRecord

    @property
    def digest(self) -> str:
        return self.labels.digest


class UsedLabel(Record):
    """A line of `labels.jsonl`."""

    id: str
    text: str
    label: str
    group: str | None
    certainty: float | None
    margin: float | None
    held_out: bool


def read_reader(folder: Path) -> ReaderRecord:
    """The record in `folder`, of a model that answers labels. Raises RequestError if there is none, or if the training
    did not end."""
    return _ended(folder, read_file(folder / TRAINING, ReaderRecord))


def read_training(folder: Path) -> TrainingRecord:
    """The record in `folder`, of any kind. Raises RequestError if there is none, or if the training did not end."""
    return _ended(folder, read_file(folder / TRAINING, TrainingRecord))


def read_record(folder: Path, model: type[RecordT]) -> RecordT:
    """The record in `folder`, of this kind. Raises RequestError if there is none, or if the training did not end."""
    kind, asked = read_training(folder).kind, model.model_fields["kind"].default
    if kind != asked:
        raise RequestError(f"{folder} holds no {model.what} (icm train {asked}), but a model of `icm train {kind}`")
    return _ended(folder, read_file(folder / TRAINING, model))


def _ended(folder: Path, record: RecordT | None) -> RecordT:
    if record is None:
        raise RequestError(f"{folder} holds no model of `icm train` (there is no {TRAINING})", code="no_model")
    if record.result is None:
        raise RequestError(
            f"{folder}: the training was stopped before its end: continue it with `icm train {record.kind} ... --out "
            f"{folder} --resume`",
            code="not_finished",
        )
    return record


def read_used(folder: Path) -> list[LabelledExample]:
    """The labelled examples that the model in `folder` was made of, held-out ones too. Raises RequestError."""
    return [
        LabelledExample(Example(row.id, row.text, row.group, {}), row.label, row.certainty, row.margin)
        for row in used_lines(folder / LABELS_USED, UsedLabel)
    ]


def used_lines(path: Path, model: type[LineT]) -> list[LineT]:
    """The lines of what a training was given. Raises RequestError naming the line that is none."""
    found = []
    for where, value in read_rows(path):
        try:
            found.append(model.model_validate(value))
        except pydantic.ValidationError:
            raise RequestError(f"{where}: the file was changed", code="bad_data") from None
    return found


def threads_of(folder: Path) -> int | None:
    """The threads of a training in `folder`, on which its last digits depend; None if there is none."""
    record = read_file(folder / TRAINING, TrainingRecord)
    return record.settings.threads if record else None
