"""The examples of a run, kept beside its labels, so that later commands need no data file.

They are copied because a data file may move or change. A digest in the journal detects changes of the copy.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pydantic

from icm_annealer.data.examples import Example
from icm_annealer.data.label_columns import label_columns
from icm_annealer.data.rows import read_rows
from icm_annealer.data.task import Task
from icm_annealer.runs.directory import EXAMPLES, RunDir
from icm_annealer.runs.schema.rows import ExampleRow
from icm_client.contract.errors import RequestError


def write_examples(folder: RunDir, examples: Sequence[Example], task: Task) -> None:
    """Writes `examples.jsonl` without fields of label names, which are probably gold labels; a run keeps none. Raises
    RequestError."""
    left_out = label_columns(examples, task)

    def kept(fields: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in fields.items() if name not in left_out}

    folder.write_rows(EXAMPLES, (ExampleRow(id=e.id, group=e.group, fields=kept(e.fields)) for e in examples))


def read_examples(path: Path, task: Task) -> list[Example]:
    """Reads the file of `write_examples`. Raises RequestError naming an invalid line."""
    examples = []
    for where, value in read_rows(path):
        try:
            row = ExampleRow.model_validate(value)
            examples.append(Example(row.id, task.render(row.fields), row.group, row.fields))
        except (pydantic.ValidationError, KeyError):
            raise RequestError(f"{where}: not an example of this run; the file was changed", code="bad_data") from None
    return examples
