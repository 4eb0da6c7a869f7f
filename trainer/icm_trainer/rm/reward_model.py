"""A reward model, read by transformers and peft in float32."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from icm_annealer.core.arrays import Array
from icm_server.engines.model_store import Progress
from icm_trainer.models.base_model import BaseModel
from icm_trainer.models.lora import check_adapter
from icm_trainer.rm.objective import log_odds
from icm_trainer.rm.record import RmRecord
from icm_trainer.sft.classifier import TunedClassifier, base_of
from icm_trainer.sft.record import read_record


@dataclass(frozen=True)
class RewardModel:
    """Create it with `load`."""

    record: RmRecord
    classifier: TunedClassifier

    @classmethod
    def load(cls, folder: Path, cache: Path, say: Progress = lambda text: None, device: str = "cpu") -> RewardModel:
        """The model in `folder`. Raises RequestError if there is none, or if the base of its adapter is missing or has
        changed."""
        record = read_record(folder, RmRecord)
        return cls(record, TunedClassifier.load(folder, cache, say, device))

    @classmethod
    def check(cls, folder: Path, cache: Path, say: Progress) -> BaseModel:
        """What `load` would refuse, without loading weights. Returns the model whose window and tokenizer it has: its
        base, or itself if it is whole."""
        record = read_record(folder, RmRecord)
        if record.settings.full:
            return BaseModel.find(str(folder), cache, say)
        base = base_of(folder, record, cache, say)
        check_adapter(folder)
        return base

    def untuned(self, folder: Path, cache: Path, say: Progress, device: str = "cpu") -> RewardModel:
        """The model that the one in `folder` was made of, as a reward model. Raises RequestError if it is missing."""
        base = base_of(folder, self.record, cache, say)
        return replace(self, classifier=replace(self.classifier, base=base, model=base.load("float32", device)))

    def rewards(self, texts: Sequence[str], on_batch: Callable[[int], None] = lambda num: None) -> Array:
        """[text]: in nats. Texts are those of the record's task, without a label. Raises RequestError for one that is
        too long."""
        return log_odds(self.classifier.logprobs(texts, on_batch), self.record.better_number)
