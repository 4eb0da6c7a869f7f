"""Labels for review: cleanlab's arrays, and Label Studio's tasks with predictions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np

from icm_annealer.core.arrays import Array
from icm_annealer.data.task import Task
from icm_annealer.export.base import ExportFormat, ExportJob, Written
from icm_annealer.export.cells import write_cells
from icm_annealer.export.labelled import Labelled
from icm_annealer.export.original import original_columns
from icm_client.contract.errors import RequestError

TASK_FIELDS = ("id", "text", "group")
"""Of a task in Label Studio; its labeling interface shows the text."""
MAX_ID_CHARS = 512
"""NumPy pads each text of an array to the longest, so texts are limited."""


def write_cleanlab(path: Path, labelled: Sequence[Labelled], task: Task, *, as_csv: bool, raw: bool) -> None:
    """What `cleanlab.filter.find_label_issues(labels, pred_probs)` takes: labels as numbers from 0 up, and the
    probabilities [example, label] of every label, by which the labels were chosen. No example is in its own context.

    As npz (arrays labels, pred_probs, ids, label_names; loads without pickle) or as CSV (id, label, a column a label,
    and the columns of the data), whose texts are guarded as in `cells` unless `raw`.
    """
    names = task.label_names
    probs = np.array([[one.row.probs[name] for name in names] for one in labelled])
    pred_probs: Array = probs / probs.sum(axis=1, keepdims=True)  # as written they are rounded
    labels = np.array([names.index(one.row.label) for one in labelled], dtype=np.int64)
    ids = [one.example.id for one in labelled]
    if as_csv:
        header = ["id", "label", *names]
        columns = original_columns(labelled, header)
        rows = zip(ids, labels.tolist(), *pred_probs.T.tolist(), *columns.values(), strict=True)
        write_cells(path, [[*header, *columns], *rows], raw=raw)
        return
    longest = max(map(len, ids))
    if longest > MAX_ID_CHARS:
        raise RequestError(f"an id has {longest:,} characters, too many for an array: give an --out that ends in .csv")
    with path.open("wb") as binary:
        np.savez(binary, labels=labels, pred_probs=pred_probs, ids=np.array(ids), label_names=np.array(names))


def label_studio_tasks(labelled: Sequence[Labelled], model_version: str) -> list[dict[str, Any]]:
    """Tasks with one prediction each (https://labelstud.io/guide/predictions), the lowest score, the certainty of the
    label, first: those are worth a person's time. Behind id, text and group stand the columns of the data. A label that
    abstains gives a task without a prediction."""
    tasks: list[dict[str, Any]] = []
    ranked = sorted(labelled, key=lambda one: one.row.rank)
    columns = original_columns(ranked, TASK_FIELDS)
    for number, (example, row, abstains) in enumerate(ranked):
        data = {"id": example.id, "text": example.text, **({"group": example.group} if example.group else {})}
        data |= {name: values[number] for name, values in columns.items()}
        choice = {"from_name": "label", "to_name": "text", "type": "choices", "value": {"choices": [row.label]}}
        prediction = {"model_version": model_version, "score": row.certainty, "result": [choice]}
        tasks.append({"data": data} if abstains else {"data": data, "predictions": [prediction]})
    return tasks


def write_label_studio(path: Path, labelled: Sequence[Labelled], model_version: str) -> None:
    tasks = label_studio_tasks(labelled, model_version)
    path.write_text(json.dumps(tasks, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def labeling_config(task: Task) -> str:
    """The labeling interface of a project that takes these tasks."""
    choices = "".join(f"<Choice value={quoteattr(name)}/>" for name in task.label_names)
    return (
        '<View><Text name="text" value="$text"/>'
        f'<Choices name="label" toName="text" choice="single">{choices}</Choices></View>'
    )


def _cleanlab(path: Path, job: ExportJob) -> Written:
    write_cleanlab(path, job.labelled, job.task, as_csv=job.suffix == ".csv", raw=job.raw)
    missing = [name for name in job.task.label_names if all(one.row.label != name for one in job.labelled)]
    return Written(len(job.labelled), [f"no example has the label {', '.join(missing)}"] if missing else [])


def _label_studio(path: Path, job: ExportJob) -> Written:
    write_label_studio(path, job.labelled, job.model_version)
    return Written(len(job.labelled), [f"labeling interface: {labeling_config(job.task)}"])


CLEANLAB = ExportFormat("cleanlab", "labels and probabilities for cleanlab", "cleanlab.npz", _cleanlab)
LABEL_STUDIO = ExportFormat(
    "label-studio", "tasks for Label Studio", "label-studio.json", _label_studio, holds_unlabelled=True
)
