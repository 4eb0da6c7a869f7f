"""Preferences in the format of AlpacaFarm or TRL, converted to pairs in both orders."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from icm_annealer.builders.built import Built, field_of, fields_of, generator, text_of
from icm_annealer.builders.pairs import TextPair, in_both_orders
from icm_annealer.sources.row import Row
from icm_client.contract.errors import RequestError
from icm_client.text.counts import counted

FIRST, SECOND = (1, "1", "output_1"), (2, "2", "output_2")


def preferences(rows: Iterable[Row], seed: int) -> Built:
    """Rows with `instruction`, `input`, `output_1`, `output_2`, `preference` (1 or 2; none: no gold), or with
    `prompt`, `chosen`, `rejected`. Raises RequestError naming the row that is neither."""
    out: list[dict[str, Any]] = []
    equal = 0
    for number, row in enumerate(rows):
        pair = _pair(row)
        if pair.first == pair.second:
            equal += 1
            continue
        out += in_both_orders("alpaca", number, pair, generator(seed, number))
    return Built(out, [f"{counted(equal, 'pair')} of equal responses left out"] if equal else [])


def _pair(row: Row) -> TextPair:
    question = text_of(row, "instruction", "prompt", "question")
    context = fields_of(row).get("input")
    if isinstance(context, str) and context.strip():
        question += "\n\n" + context.strip()
    shared = {"question": question}
    if "chosen" in fields_of(row):
        return TextPair(text_of(row, "chosen"), text_of(row, "rejected"), True, shared)
    first, second = text_of(row, "output_1"), text_of(row, "output_2")
    if fields_of(row).get("preference") is None:
        return TextPair(first, second, None, shared)
    preference = field_of(row, "preference")
    if preference not in FIRST + SECOND:
        raise RequestError(f"{row.where}: preference is {preference!r}, neither 1 nor 2", code="bad_data")
    return TextPair(first, second, preference in FIRST, shared)
