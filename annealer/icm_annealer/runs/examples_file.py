"""The examples of a run, kept beside its labels, so that what comes after it needs no data file named again.

Each line holds what the search saw of a row besides its text, which the task renders again: id, group, and the row's
fields without gold. They are a copy, since a data file may move or change; a digest in the journal tells if they did.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pydantic

from icm_annealer.data.examples import Example
from icm_annealer.data.rows import read_rows
from icm_annealer.data.task import Task
from icm_annealer.runs.directory import EXAMPLES, RunDir
from icm_client.contract.errors import RequestError


class _Kept(pydantic.BaseModel):
    id: str
    group: str | None
    facts: dict[str, Any]


def write_examples(folder: RunDir, examples: Sequence[Example]) -> None:
    """Writes `examples.jsonl`. Raises RequestError."""
    folder.write_jsonl(EXAMPLES, ({"id": e.id, "group": e.group, "facts": e.facts} for e in examples))


def read_examples(path: Path, task: Task) -> list[Example]:
    """The examples that `write_examples` wrote. Raises RequestError naming a line that it could not have written."""
    examples = []
    for where, row in read_rows(path):
        try:
            kept = _Kept.model_validate(row)
            examples.append(Example(kept.id, task.render(kept.facts), kept.group, kept.facts))
        except (pydantic.ValidationError, KeyError):
            raise RequestError(f"{where}: not an example of this run; the file was changed", code="bad_data") from None
    return examples
