"""A tuned model as the subject of `icm eval`: beside its labels as shots for the model that it was made of."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from icm_annealer.core.arrays import Array
from icm_annealer.data.examples import Example, Loaded, load_examples
from icm_annealer.data.rows import READ_AS_IT_IS, ReadAs
from icm_annealer.data.task import Task
from icm_annealer.evaluation.run_evaluation import Shots, unseen
from icm_annealer.evaluation.subject import Subject, examples_to_test
from icm_annealer.extending.extend import By
from icm_annealer.extending.row_scorer import TunedScorer
from icm_annealer.runs.gold import task_again
from icm_client.contract.errors import RequestError
from icm_client.contract.wire import ModelIdentity
from icm_server.engines.model_store import Progress
from icm_trainer.models.label_scores import BATCH
from icm_trainer.sft.classifier import TunedClassifier
from icm_trainer.sft.labelled import LabelledExample
from icm_trainer.sft.record import SftRecord, read_record, read_used


def tuned_subject(
    folder: Path,
    task: str | None,
    data: str | None,
    test: str | None,
    *,
    cache: Path,
    device: str,
    say: Progress,
    allow_code: bool = False,
    how: ReadAs = READ_AS_IT_IS,
) -> Subject:
    """The model in `folder`, the labels that it was tuned on (held-out ones too), and examples whose texts are not
    among theirs. Raises RequestError."""
    record, used = read_record(folder, SftRecord), read_used(folder)
    loaded = task_again(record.task, str(folder), task, allow_code=allow_code)
    full = loaded.task.model_copy(update={"rates": record.task.rates}) if loaded else record.task
    source = data or (loaded.data_path if loaded else None)
    if source is None and test is None:
        raise RequestError(f"name the rows of the task of {folder} with --data, or other examples with --test")
    own = load_examples(source, full, how) if source is not None else Loaded([], {})
    pool = examples_to_test(full, "its", own, data, test, how)
    shots = _shots(used, own, record.task.label_names, knows_gold=record.labels.origin.kind != "gold")
    held_out = unseen(pool, shots.examples)
    classifier = TunedClassifier.load(folder, cache, say, device)

    async def predict(examples: Sequence[Example]) -> Array:
        return await _in_batches(classifier, [example.text for example in examples])

    return Subject(folder.resolve().name, folder, full, shots, pool, held_out, tuned=predict)


def tuned_rows(folder: Path, task: Task, cache: Path, device: str, say: Progress) -> By:
    """The model in `folder` as what labels the rows of an extension. Raises RequestError if it was tuned for a task
    with another template or other labels."""
    record = read_record(folder, SftRecord)
    if (record.task.template, record.task.labels) != (task.template, task.labels):
        raise RequestError(f"{folder} was tuned for another task: its template or its labels differ from the core's")
    classifier = TunedClassifier.load(folder, cache, say, device)
    digest = f"{record.base.digest[:16]}-{record.labels.digest[:16]}-{record.num_steps}"
    model = ModelIdentity(name=folder.resolve().name, digest=digest, dtype="float32", engine="transformers")

    async def logprobs(texts: Sequence[str]) -> Array:
        return await _in_batches(classifier, texts)

    return By(TunedScorer(logprobs), model)


async def _in_batches(classifier: TunedClassifier, texts: Sequence[str]) -> Array:
    parts = []
    for first in range(0, len(texts), BATCH):
        parts.append(classifier.logprobs(texts[first : first + BATCH]))
        await asyncio.sleep(0)  # where Ctrl-C takes effect
    return np.concatenate(parts)


def _shots(used: Sequence[LabelledExample], own: Loaded, names: Sequence[str], *, knows_gold: bool) -> Shots:
    """The labels as shots. Gold labels are found by text; where the labels are gold themselves there are no others."""
    gold = {example.text: own.gold[example.id] for example in own.examples if example.id in own.gold}
    number = {name: k for k, name in enumerate(names)}
    return Shots(
        [row.example for row in used],
        np.array([number[row.label] for row in used], dtype=np.int64),
        np.array([1.0 if row.certainty is None else row.certainty for row in used]),
        np.array([number[gold[row.example.text]] if knows_gold and row.example.text in gold else -1 for row in used]),
        np.zeros(len(used), dtype=bool),
        "many_shot",
    )
