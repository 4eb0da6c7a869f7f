"""Which fields of the data a search uses, and which look like labels though the task does not name them."""

from __future__ import annotations

from collections.abc import Sequence

from icm_annealer.data.examples import Example
from icm_annealer.data.label_values import LabelValues, NotALabel
from icm_annealer.data.task import Task


def label_columns(examples: Sequence[Example], task: Task) -> list[str]:
    """The fields that the task does not use, whose values are all label names, or values of `gold_values`; a few may be
    empty. They are probably gold labels."""
    values, used = LabelValues(task), {*task.fields, task.id}
    candidates = dict.fromkeys(name for example in examples for name in example.fields if name not in used)
    has_label: set[str] = set()
    for example in examples:
        for name in list(candidates):
            try:
                if values.label(example.fields.get(name)) is not None:
                    has_label.add(name)
            except (NotALabel, TypeError):  # TypeError: a value that is not of JSON
                del candidates[name]
        if not candidates:
            break
    return [name for name in candidates if name in has_label]


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
    bare = task.model_copy(update={"gold_values": {}, "no_label": []})  # a run does not keep these
    unused = label_columns(examples, bare)
    return sorted({name for example in examples for name in example.fields if name not in unused})
