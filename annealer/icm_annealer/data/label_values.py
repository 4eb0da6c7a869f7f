"""Which label a value stands for that a person or a program wrote into a file."""

from __future__ import annotations

import json
import re
from typing import Any

from icm_annealer.data.task import Task
from icm_client.contract.errors import RequestError

LISTED = re.compile(r"\s*[;,|]\s*")
"""What parts several labels that stand in one text."""
SEVERAL = (
    "a row has one label: for labels that occur together, make a task for each of them, with the labels yes and no "
    "and a gold column of its own"
)


class NotALabel(Exception):  # noqa: N818 (caught by its callers, which raise the error)
    """A value that stands for no label of the task."""

    def __init__(self, text: str, *, is_several: bool):
        super().__init__(text)
        self.text = text
        self.is_several = is_several
        """Whether it names several labels."""


def value_text(value: Any) -> str | None:
    """The text that a task names a value by; None if the value is missing. Raises TypeError for a value that is not of
    JSON."""
    if value is None or value != value:  # NaN, in a column of numbers
        return None
    if isinstance(value, list | tuple) and len(value) == 1:
        value = value[0]
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # integer columns with gaps are read as floats
    return value if isinstance(value, str) else json.dumps(value)


class LabelValues:
    """The values that stand for a task's labels: their names, those of `gold_values`, and those of `no_label`.

    Case and outer spaces are ignored where that leaves one label.
    """

    def __init__(self, task: Task):
        self._names = ", ".join(dict.fromkeys([*task.labels, *task.gold_values]))
        self._exact = {name: name for name in task.labels} | {
            text: label for text, label in task.gold_values.items() if label in task.labels
        }
        self._nothing = {folded(text) for text in task.no_label}
        same: dict[str, set[str]] = {}
        for text, label in self._exact.items():
            same.setdefault(folded(text), set()).add(label)
        self._alike = {text: min(labels) for text, labels in same.items() if len(labels) == 1}

    def label(self, value: Any) -> str | None:
        """The label's name; None if the value is missing, blank, or one of `no_label`. Raises NotALabel."""
        text = value_text(value)
        if text is None:
            return None
        found = self._found(text)
        if found is not None or not text.strip() or folded(text) in self._nothing:
            return found
        parts = value if isinstance(value, list | tuple) and len(value) > 1 else LISTED.split(text)
        several = len(parts) > 1 and all(isinstance(part, str) and self._found(part) for part in parts)
        raise NotALabel(text, is_several=several)

    def refusal(self, wrong: NotALabel) -> str:
        """What is wrong with the value, and what to do."""
        if wrong.is_several:
            return f"several labels in one row ({wrong.text!r:.200}); {SEVERAL}"
        return f"the label {wrong.text!r:.200} is none of {self._names}"

    def label_at(self, value: Any, where: str) -> str | None:
        """The same as `label`; raises RequestError naming the place."""
        try:
            return self.label(value)
        except NotALabel as wrong:
            raise RequestError(f"{where}: {self.refusal(wrong)}", code="bad_data") from None

    def _found(self, text: str) -> str | None:
        return self._exact.get(text) or self._alike.get(folded(text))


def folded(text: str) -> str:
    """What remains of a value's text when it is compared."""
    return text.strip().casefold()
