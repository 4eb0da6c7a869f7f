"""Columns that look like labels are found, and what a run is known by does not depend on others."""

from __future__ import annotations

from typing import Any

from icm_annealer.data.examples import Example, digest, examples_of
from icm_annealer.data.label_columns import label_columns, searched_fields
from icm_annealer.data.rows import Row
from icm_annealer.data.task import Task

TASK = Task(
    name="t",
    template="{text}:",
    labels={"spam": " spam", "fine": " fine"},
    gold_values={"1": "spam"},
    group="thread",
    rules=[{"kind": "same_key", "key": "subject"}],  # type: ignore[list-item]
)
CODE = TASK.model_copy(
    update={
        "rules": Task.model_validate(
            {**TASK.model_dump(), "rules": [{"kind": "python", "function": "mine.py:contradicts"}]}
        ).rules
    }
)


def examples(rows: list[dict[str, Any]], task: Task = TASK) -> list[Example]:
    full = [{"text": f"t{k}", "thread": k // 2, "subject": "s", **row} for k, row in enumerate(rows)]
    return examples_of((Row(f"row {k}", row) for k, row in enumerate(full)), task).examples


def test_columns_of_label_names_are_found() -> None:
    rows = [
        {"label": "spam", "number": 1, "mixed": "fine", "empty": None, "subject": "spam"},
        {"label": "fine", "number": 1, "mixed": "other", "empty": ""},
        {"label": None, "mixed": "spam", "nested": ["spam", "fine"]},
    ]
    assert label_columns(examples(rows), TASK) == ["label", "number"]


def known_by(rows: list[dict[str, Any]], task: Task) -> str:
    found = examples(rows, task)
    return digest(found, searched_fields(found, task))


def test_a_run_is_known_by_what_a_search_uses() -> None:
    rows: list[dict[str, Any]] = [{"subject": "a"}, {"subject": "b"}]
    plain = known_by(rows, TASK)
    assert known_by([{**row, "label": "spam", "note": "new"} for row in rows], TASK) == plain
    for other in ({"subject": "c"}, {"text": "other"}, {"thread": 9}, {"id": "x"}):
        assert known_by([rows[0], {**rows[1], **other}], TASK) != plain


def test_code_may_use_every_field_but_labels() -> None:
    rows = [{"note": "a"}, {"note": "b"}]
    plain = known_by(rows, CODE)
    assert known_by([{**row, "label": "spam"} for row in rows], CODE) == plain
    assert known_by([rows[0], {"note": "c"}], CODE) != plain
