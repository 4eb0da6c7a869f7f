"""`training.json` in a reward model's folder: how it was made, and of which pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import field_serializer

from icm_annealer.data.task import Task
from icm_annealer.runs.schema.base import Record
from icm_trainer.rm.pairing import PairOptions
from icm_trainer.rm.pairs import Pair
from icm_trainer.sft.labelled import Origin
from icm_trainer.sft.record import PAIRS_USED, ReaderRecord, used_lines


class PairsRecord(Record):
    """The pairs given."""

    digest: str
    origin: Origin
    options: PairOptions
    """How they were made of labels."""
    of_task: Task | None
    """Whose labels they were made of; None for a file of preferences."""
    num: int
    num_first: int
    """How many of them come from the labels; a first reward model made the others."""
    num_held_out: int
    """How many of them were not learnt from, and told when to stop."""
    num_cut: int = 0
    """Texts that lost their beginning."""

    @field_serializer("of_task")
    def _seen(self, task: Task | None) -> dict[str, Any] | None:
        return None if task is None else task.seen()


class RmRecord(ReaderRecord):
    """How a reward model was made. `task` is the form of its texts, and the labels behind them."""

    what: ClassVar[str] = "reward model"
    given: ClassVar[str] = "pairs"
    used_file: ClassVar[str] = PAIRS_USED

    kind: Literal["rm"] = "rm"
    better: str
    """The label whose log-odds are the reward."""
    pairs: PairsRecord

    @property
    def digest(self) -> str:
        return self.pairs.digest

    @property
    def better_number(self) -> int:
        return self.task.label_names.index(self.better)


class UsedPair(Pair):
    """A line of `pairs.jsonl`."""

    held_out: bool


def read_used_pairs(folder: Path) -> list[UsedPair]:
    """The pairs that the model in `folder` was made of, held-out ones too. Raises RequestError."""
    return used_lines(folder / PAIRS_USED, UsedPair)
