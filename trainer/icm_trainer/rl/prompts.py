"""What a policy is asked, and how its answers become texts that a reward model reads."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from icm_annealer.data.columnar import plain
from icm_annealer.data.examples import MAX_ROWS
from icm_annealer.data.row_reader import is_absent
from icm_annealer.data.rows import READ_AS_IT_IS, ReadAs, read_rows
from icm_annealer.data.task import Task
from icm_annealer.data.template import literals
from icm_annealer.runs.gold import task_again
from icm_client.contract.errors import RequestError
from icm_trainer.sft.settings import MIN_HELD_OUT

PROMPT = "prompt"


@dataclass(frozen=True)
class PromptForm:
    """A reward model's template, of which the last field is the response."""

    task: Task

    @property
    def fields(self) -> list[str]:
        """The fields of a prompt."""
        return [field for _, field in literals(self.task.template)][:-2]

    @property
    def ending(self) -> str:
        """What the reward model reads behind a response."""
        return literals(self.task.template)[-1][0]

    def prompt(self, values: Mapping[str, Any]) -> str:
        """What stands in front of the response. Spaces at its end are left to the response, whose first word they
        belong to."""
        *before, (lead, _), _ = literals(self.task.template)
        return ("".join(text + str(values[field]) for text, field in before) + lead).rstrip(" ")

    def text(self, prompt: str, response: str) -> str:
        """What the reward model reads, without a label."""
        return f"{prompt}{response.rstrip()}{self.ending}"


@dataclass(frozen=True)
class PromptSet:
    """Different prompts."""

    form: PromptForm
    texts: Sequence[str]
    origin: str
    """For a person."""

    @property
    def digest(self) -> str:
        return hashlib.sha256(json.dumps([self.form.task.seen(), *self.texts]).encode()).hexdigest()[:16]

    def held_out(self, share: float, seed: int) -> npt.NDArray[np.bool_]:
        """[prompt]: a random share; none if it were too few."""
        chosen = np.zeros(len(self.texts), dtype=bool)
        num = round(share * len(self.texts))
        if num >= MIN_HELD_OUT:
            chosen[np.random.default_rng([seed, 3]).permutation(len(self.texts))[:num]] = True
        return chosen


def read_prompts(source: str, form: PromptForm, first: int | None = None, read_as: ReadAs = READ_AS_IT_IS) -> PromptSet:
    """The prompts of a file: rows with the fields in front of the response, or with `prompt`, which stands for the one
    that is no column. Equal prompts are one. `first` takes the first rows alone. Raises RequestError naming the
    row."""
    found: dict[str, None] = {}
    for number, (where, value) in enumerate(read_rows(source, read_as=read_as)):
        if number == first:
            break
        if number >= MAX_ROWS:
            raise RequestError(f"{where}: more than {MAX_ROWS} rows", code="bad_data")
        if not isinstance(value, dict):
            raise RequestError(f"{where}: expected an object with fields", code="bad_data")
        row = {name: plain(one) for name, one in value.items()}
        values = {field: row[field] if field in row else row.get(PROMPT) for field in form.fields}
        absent = [field for field in form.fields if field not in row]
        if PROMPT in row and len(absent) > 1:
            raise RequestError(
                f"{where}: {PROMPT!r} can stand for one field, and there are none of {', '.join(map(repr, absent))}",
                code="bad_data",
            )
        missing = [field for field, one in values.items() if is_absent(one)]
        if missing:
            raise RequestError(
                f"{where}: no field {missing[0]!r}: the reward model reads {form.task.template!r}, so a row needs "
                f"what stands in front of the response, or a field {PROMPT!r} in its place",
                code="bad_data",
            )
        found[form.prompt(values)] = None
    if not found:
        raise RequestError(f"{source}: no rows, so no prompts to train on", code="no_prompts")
    return PromptSet(form, list(found), f"of {source}")


def find_prompts(
    form: PromptForm,
    of_task: Task | None,
    labels: str,
    source: str | None,
    task: str | None,
    first: int | None = None,
    *,
    allow_code: bool = False,
) -> PromptSet:
    """The prompts of `source`. Without it, those of the rows that the task file `task`, or the built-in task, names:
    that of `labels`, which the reward model was made of, must be this one. Raises RequestError."""
    if source is not None:
        return read_prompts(source, form, first)
    loaded = None if of_task is None else task_again(of_task, labels, task, allow_code=allow_code)
    if loaded is None or loaded.data_path is None:
        fields = " and ".join(map(repr, form.fields)) or "any field"
        either = "" if form.fields == [PROMPT] else f", or with {PROMPT!r}"
        raise RequestError(
            f"no prompts: name rows with {fields}{either}, by --prompts"
            + ("" if of_task is None else f"; or the task file of {labels}, if it names data, by --task"),
            code="no_prompts",
        )
    read_as = ReadAs(loaded.task.columns, loaded.task.encoding)
    return read_prompts(str(loaded.data_path), form, first, read_as)
