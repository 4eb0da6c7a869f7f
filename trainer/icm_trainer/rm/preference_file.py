"""Files of preferences, in the format of RewardBench and TRL: `chosen` and `rejected`, and often `prompt`."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from icm_annealer.data.columnar import plain
from icm_annealer.data.examples import MAX_ROWS
from icm_annealer.data.rows import read_rows
from icm_annealer.data.task import Task
from icm_annealer.data.template import filled, template_fields
from icm_client.contract.errors import RequestError
from icm_trainer.rm.pairing import BAD, ENDING, GOOD
from icm_trainer.rm.pairs import Pair

CHOSEN, REJECTED, PROMPT = "chosen", "rejected", "prompt"
CONVERSATION = Task(
    name="conversation",
    template=f"Human: {{prompt}}\nAssistant: {{response}}{ENDING}",
    labels={GOOD: f" {GOOD}", BAD: f" {BAD}"},
)
"""How prompts and responses are read where no task says otherwise."""


def holds_preferences(source: str | None) -> bool:
    """Whether the file's first row has a chosen and a rejected text. Raises RequestError for a file that cannot be
    read."""
    if source is None or not Path(source).is_file():
        return False
    first = next(iter(read_rows(source)), None)
    return first is not None and isinstance(first.value, dict) and {CHOSEN, REJECTED} <= set(first.value)


def read_preferences(source: str, form: Task) -> list[Pair]:
    """The pairs of a file. The last field of the form's template is the response; the row's prompt stands for the
    fields before it that are no columns. Pairs of equal texts are left out. Raises RequestError naming the row."""
    pairs: list[Pair] = []
    for number, (where, value) in enumerate(read_rows(source)):
        if number >= MAX_ROWS:
            raise RequestError(f"{where}: more than {MAX_ROWS} rows", code="bad_data")
        if not isinstance(value, dict) or not {CHOSEN, REJECTED} <= set(value):
            raise RequestError(f"{where}: a row needs the fields {CHOSEN} and {REJECTED}", code="bad_data")
        row = {name: plain(one) for name, one in value.items()}
        pairs += _pairs(row, form, str(number), where)
    return pairs


def _pairs(row: Mapping[str, Any], form: Task, number: str, where: str) -> Iterator[Pair]:
    """Every chosen text over every rejected one; RewardBench 2 has lists of them."""
    *before, response = template_fields(form.template)
    chosen, rejected = (_texts(row[name], f"{where}: {name}") for name in (CHOSEN, REJECTED))
    prompt = row.get(PROMPT) or _first_message(row[CHOSEN])
    fields = {name: row[name] if name in row else _text(prompt, f"{where}: {PROMPT}") for name in set(before)}
    subset = row.get("subset")
    for good, bad in itertools.product(chosen, rejected):
        if good != bad:
            texts = (filled(form.template, fields | {response: text}) for text in (good, bad))
            yield Pair(
                chosen=next(texts), rejected=next(texts), group=number, subset=None if subset is None else str(subset)
            )


def _texts(value: Any, where: str) -> list[str]:
    """A text, a list of texts, or a conversation, whose last message is the response."""
    if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        return [_text(value[-1].get("content"), where)]
    return [_text(one, where) for one in (value if isinstance(value, list) else [value])]


def _first_message(value: Any) -> Any:
    """The first message of a conversation."""
    is_conversation = isinstance(value, list) and value and isinstance(value[0], dict)
    return value[0].get("content") if is_conversation and len(value) > 1 else None


def _text(value: Any, where: str) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        value = value[0].get("content")  # a prompt as a conversation
    if not isinstance(value, str) or not value.strip():
        raise RequestError(f"{where}: expected a text that is not empty", code="bad_data")
    return value
