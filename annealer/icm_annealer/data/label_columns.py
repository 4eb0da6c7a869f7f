"""Which fields of the data a search uses, and which look like labels though the task does not name them."""

from __future__ import annotations

from collections.abc import Sequence

from icm_annealer.data.examples import Example, is_unknown, label_named
from icm_annealer.data.task import Task
from icm_client.contract.errors import RequestError


def label_columns(examples: Sequence[Example], task: Task) -> list[str]:
    """The fields that the task does not use, whose values are all label names, or values of `gold_values`; a few may be
    empty. They are probably gold labels."""
    used = {*task.fields, task.id}
    candidates = dict.fromkeys(name for example in examples for name in example.fields if name not in used)
    has_value: set[str] = set()
    for example in examples:
        for name in list(candidates):
            value = example.fields.get(name)
            if is_unknown(value):
                continue
            if _is_label(value, task):
                has_value.add(name)
            else:
                del candidates[name]
        if not candidates:
            break
    return [name for name in candidates if name in has_value]


def label_column_text(name: str) -> str:
    """What a user should know of such a field."""
    return (
        f"the field {name!r} holds label names: no search uses it, and no run keeps it. To use it, name it in the task "
        f"by `gold: {name}` for evaluation or `known: {name}` for the search"
    )


def searched_fields(examples: Sequence[Example], task: Task) -> list[str]:
    """The fields that affect a search besides the text, in a fixed order: those that rules compare, or all but label
    columns if a rule is code, which may read any."""
    if all(rule.code is None for rule in task.rules):
        return task.rule_keys
    unused = label_columns(examples, task)
    return sorted({name for example in examples for name in example.fields if name not in unused})


def _is_label(value: object, task: Task) -> bool:
    try:
        label_named(value, task, "")
    except (RequestError, TypeError):
        return False
    return True
