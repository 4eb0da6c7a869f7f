"""The columns of the data that an export hands on: the fields of the examples, without gold. A leaf of the exports."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

from icm_annealer.export.labelled import Labelled

PREFIX = "data."
"""Begins the name of a column whose own name an export uses otherwise."""


def original_columns(labelled: Sequence[Labelled], used: Collection[str]) -> dict[str, list[Any]]:
    """Column name -> a value for each example, None where its row has none. Names that are `used` get the prefix;
    `id` is left out where it is the example's id. Nested values are JSON as text, and so is a column with values of
    several kinds."""
    names = dict.fromkeys(name for one in labelled for name in one.example.fields)
    columns: dict[str, list[Any]] = {}
    for name in names:
        values = [one.example.fields.get(name) for one in labelled]
        if name == "id" and all(str(value) == one.row.id for value, one in zip(values, labelled, strict=True)):
            continue
        kept = name
        while kept in used or kept in columns:
            kept = PREFIX + kept
        columns[kept] = _of_one_kind(values)
    return columns


def _of_one_kind(values: list[Any]) -> list[Any]:
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int, float}:
        return [None if value is None else float(value) for value in values]
    is_large = kinds == {int} and any(value is not None and abs(value) >= 2**63 for value in values)
    if len(kinds) <= 1 and kinds <= {str, int, float, bool} and not is_large:
        return values
    return [
        value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False) for value in values
    ]
