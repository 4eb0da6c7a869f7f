"""Drafts a task for data that nobody has described yet: its columns, its labels, and templates to choose from."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pydantic

from icm_annealer.data.bad_rows import near
from icm_annealer.data.column_survey import Column
from icm_annealer.data.label_values import LISTED, SEVERAL, folded
from icm_annealer.data.task import ID, Task, check_task
from icm_annealer.data.template import escaped
from icm_client.contract.errors import RequestError
from icm_client.text.validation import first_error
from icm_client.text.visible import visible

NONE = "none"
"""Stands for no gold column."""
MAX_HEADER_WORDS = 5
"""A column's name with more words is probably a text."""
MAX_TEXTS = 3
MAX_NAMED = 6
"""The most labels that a template lists."""
LABEL_NAMES = ("gold", "label", "labels", "target", "class", "category", "y")
"""How columns with labels are often called; a template does not repeat these words."""
TEXT_NAMES = ("text", "message", "sentence", "content", "body", "review", "comment", "question", "prompt", "title")
ANSWER_KEY = re.compile(r"^(ref|reference|correct|expected|gold|true|best)[_ -]", re.IGNORECASE)
TRUTH = frozenset({"true", "false", "yes", "no"})
NUMBERS = {"1": "true", "0": "false"}
"""What a column of zeros and ones means, also among truth values."""


class Choice(NamedTuple):
    """The columns that a task is drafted of."""

    texts: Sequence[str]
    gold: str | None
    labels: Sequence[str] = ()
    """The names of the labels; those of the gold column if there are none here."""


def guessed(
    columns: Mapping[str, Column], texts: Sequence[str] = (), gold: str | None = None, labels: Sequence[str] = ()
) -> Choice:
    """The choice that the columns suggest; what is given stays, and the gold column `NONE` means that there is none.
    `gold` is None, or `texts` empty, where nothing fits."""
    if gold is None:
        gold = next(iter(label_candidates(columns, texts, labels)), None)
    elif gold == NONE and NONE not in columns:
        gold = None
    return Choice(texts or _texts(columns, gold), gold, labels)


def label_candidates(columns: Mapping[str, Column], texts: Sequence[str], labels: Sequence[str]) -> list[str]:
    """The columns that could hold labels, the likeliest first: by their name, then the last ones. With `labels`, only
    those whose values are all among these."""
    meant = set(map(folded, labels))
    found = [
        name
        for name, column in columns.items()
        if column.can_be_labels and not column.is_id and name not in texts
        if not labels or set(column.labels) <= meant
    ]
    by_name = [name for known in LABEL_NAMES for name in found if folded(name) == known]
    return list(dict.fromkeys([*by_name, *reversed(found)]))


def value_as_name(columns: Mapping[str, Column]) -> str | None:
    """A column's name that is probably a value, so that the table has no header: a sentence, or one of the column's
    few values. None if there is none, or if another column is called as columns often are."""
    if any(folded(name) in (ID, *LABEL_NAMES, *TEXT_NAMES) for name in columns):
        return None
    return next((n for n, c in columns.items() if len(n.split()) > MAX_HEADER_WORDS or folded(n) in c.labels), None)


def check_guess(columns: Mapping[str, Column], choice: Choice) -> None:
    """Raises RequestError if the gold column was guessed among several, and neither its name nor its place, the last
    one, speaks for it."""
    others = label_candidates(columns, choice.texts, choice.labels)
    if choice.gold is None or len(others) < 2 or folded(choice.gold) in LABEL_NAMES or choice.gold == [*columns][-1]:
        return
    raise RequestError(
        f"several columns could hold the labels ({', '.join(map(visible, others))}): name one with --gold; or, if none "
        f"does, use --gold {NONE} and name the labels with --labels"
    )


@dataclass(frozen=True)
class Draft:
    """Tasks that differ in their template only, the first one preferred."""

    tasks: Sequence[Task]
    groups: Sequence[str] = ()
    """Columns whose values may tie rows together."""


def drafted(columns: Mapping[str, Column], choice: Choice, name: str) -> Draft:
    """The tasks for this choice. Raises RequestError for a column that is not there or cannot be used, and if no
    labels are known."""
    for text in choice.texts:
        if not _found(columns, text, "--text").can_be_in_template:
            raise RequestError(
                f"--text: the column {text!r} cannot be part of a template: its values are no plain texts, or its name "
                "holds braces or outer spaces"
            )
    if not choice.texts:
        raise RequestError(f"no column looks like text: name one with --text (there are: {_names(columns)})")
    if choice.gold in choice.texts:
        raise RequestError(f"{choice.gold!r} cannot be both the text and the gold column, which a search never sees")
    if choice.gold is not None and not choice.labels:
        _found(columns, choice.gold, "--gold")
    column = None if choice.gold is None else columns.get(choice.gold)
    labels, values = _labels(columns, column, choice)
    fields: dict[str, object] = {
        "name": re.sub(r"[^\w-]+", "-", name).strip("-")[:100] or "task",
        "labels": _verbalizers(labels),
        "gold": choice.gold,
        "gold_values": values,
        "no_label": column.empty_labels if column else [],
    }
    try:
        tasks = [Task.model_validate({**fields, "template": text}) for text in _templates(choice, labels)]
    except pydantic.ValidationError as error:
        raise RequestError(f"a task cannot be made of these columns: {first_error(error)}") from None
    for task in tasks:
        check_task(task)
    used = {*choice.texts, choice.gold}
    groups = [n for n, c in columns.items() if c.can_be_group and folded(n) != ID and n not in used]
    return Draft(tasks, groups)


def _texts(columns: Mapping[str, Column], gold: str | None) -> list[str]:
    """The columns of running text, or else the one of words with the longest values."""
    free = {
        name: column
        for name, column in columns.items()
        if name != gold and column.can_be_in_template and not column.is_id and not ANSWER_KEY.match(name)
    }
    running = [name for name, column in free.items() if column.is_text and not column.can_be_labels]
    if running:
        return running[:MAX_TEXTS]
    words = [name for name, column in free.items() if column.has_letters]
    others = [name for name in words if not free[name].can_be_labels] or words
    named = [name for name in others if folded(name) in TEXT_NAMES]
    return sorted(named or others, key=lambda name: -free[name].mean_chars)[:1]


def _labels(columns: Mapping[str, Column], column: Column | None, choice: Choice) -> tuple[list[str], dict[str, str]]:
    """The labels' names, and the values of the gold column that stand for them by other names."""
    if choice.labels:
        return list(choice.labels), {}
    if column is None:
        raise RequestError(
            "no column looks like labels: name the labels with --labels, such as --labels yes,no, or the column that "
            f"holds them with --gold (there are: {_names(columns)})"
        )
    names = list(column.labels.values())
    if not 4 <= 2 * len(names) <= column.num:
        raise RequestError(
            f"--gold: the column {column.name!r} does not hold a few values, each in several rows; name the labels "
            "with --labels"
        )
    several = next((name for name in names if len(parts := LISTED.split(name)) > 1 and set(parts) <= set(names)), None)
    if several is not None:
        raise RequestError(
            f"--gold: the column {column.name!r} holds several labels in one row ({several!r}); {SEVERAL}"
        )
    if set(NUMBERS) & set(names) and {NUMBERS.get(key, key) for key in column.labels} == set(NUMBERS.values()):
        return ["true", "false"], {value: label for value, label in NUMBERS.items() if value in names}
    return names, {}


def _verbalizers(labels: Sequence[str]) -> dict[str, str]:
    """Label name -> its text: the name as words, with the space before it, unless two would be alike."""
    texts = {label: " " + " ".join(label.replace("_", " ").split()) for label in labels}
    if len(set(map(folded, texts.values()))) < len(labels):
        return {label: f" {label}" for label in labels}
    return texts


def _templates(choice: Choice, labels: Sequence[str]) -> list[str]:
    """Three templates: the same columns, and different words before the label."""
    shown = "".join(f"{_heading(name)}: {{{name}}}\n" for name in choice.texts)
    words = [escaped(text.strip()) for text in _verbalizers(labels).values()]
    is_plain = choice.gold is None or folded(choice.gold) in LABEL_NAMES
    heading = "Category" if choice.gold is None or is_plain else _heading(choice.gold)
    listed = f"{', '.join(words[:-1])} or {words[-1]}" if len(words) <= MAX_NAMED else "Which one fits"
    endings = [f"{heading}:", f"{listed[:1].upper()}{listed[1:]}?\nAnswer:", "I think this is"]
    if set(map(folded, labels)) <= TRUTH and is_plain:
        endings.insert(0, endings.pop())
    return [shown + ending for ending in endings]


def _heading(name: str) -> str:
    words = escaped(" ".join(name.replace("_", " ").split()))
    return words[:1].upper() + words[1:]


def _found(columns: Mapping[str, Column], name: str, option: str) -> Column:
    if name not in columns:
        meant = near(name, list(columns))
        hint = f"; is {meant!r} meant?" if meant else ""
        raise RequestError(f"{option}: there is no column {name!r} (there are: {_names(columns)}{hint})")
    return columns[name]


def _names(columns: Mapping[str, Column]) -> str:
    named = [f"{name}{'' if column.is_plain else ' (lists or objects)'}" for name, column in columns.items()]
    return visible(", ".join(named[:20]) + (", ..." if len(named) > 20 else ""))
