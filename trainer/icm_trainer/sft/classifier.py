"""A tuned model as a classifier, read by transformers and peft in float32."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from icm_annealer.core.arrays import Array
from icm_client.contract.errors import RequestError
from icm_server.engines.model_store import Progress
from icm_trainer.models.base_model import BaseModel, load_model
from icm_trainer.models.label_scores import label_logprobs
from icm_trainer.models.label_tokens import cut_to, prompts_of
from icm_trainer.models.lora import with_saved_adapter
from icm_trainer.sft.record import ReaderRecord, TrainingRecord, read_reader


@dataclass(frozen=True)
class TunedClassifier:
    """Create it with `load`."""

    record: ReaderRecord
    base: BaseModel
    model: Any

    @classmethod
    def load(cls, folder: Path, cache: Path, say: Progress = lambda text: None, device: str = "cpu") -> TunedClassifier:
        """The model in `folder`. Raises RequestError if there is none, or if the base of its adapter is missing or has
        changed."""
        record = read_reader(folder)
        base = BaseModel.find(str(folder), cache, say) if record.settings.full else base_of(folder, record, cache, say)
        model = load_model(base.folder, "float32", device)
        return cls(record, base, model if record.settings.full else with_saved_adapter(model, folder))

    def logprobs(self, texts: Sequence[str], on_batch: Callable[[int], None] = lambda num: None) -> Array:
        """[text, label]: natural logs, not normalised over the labels, as a scorer answers. Long texts are cut as in
        the training. Raises RequestError for one that is longer and was not to be cut."""
        prompts = prompts_of(texts, self.record.task, self.base.tokenizer)
        limit = min(self.record.settings.max_tokens if self.record.settings.cut else self.base.window, self.base.window)
        long = [text for text, prompt in zip(texts, prompts, strict=True) if prompt.num_tokens > limit]
        if long and not self.record.settings.cut:
            raise RequestError(
                f"{len(long):,} texts are longer than the {limit:,} tokens of the model's window: {long[0][:40]!r}",
                code="too_long",
            )
        cut = [cut_to(prompt, limit, self.base.tokenizer.bos) for prompt in prompts]
        return label_logprobs(self.model, cut, on_batch=on_batch)


def base_of(folder: Path, record: TrainingRecord, cache: Path, say: Progress) -> BaseModel:
    """The base model of the adapter in `folder`, where it was or else by its name. Raises RequestError if it is missing
    or another one."""
    place = record.base.folder if Path(record.base.folder).is_dir() else record.base.name
    try:
        base = BaseModel.find(place, cache, say)
    except RequestError as error:
        raise RequestError(
            f"{folder} holds an adapter of {record.base.name}, which is missing: {error.message}", code="no_base"
        ) from None
    if base.digest != record.base.digest:
        raise RequestError(
            f"{folder} holds an adapter of another base model than the one now in {base.folder}: its files have "
            f"changed since the training (digest {record.base.digest[:12]}, now {base.digest[:12]})",
            code="other_base",
        )
    return base
