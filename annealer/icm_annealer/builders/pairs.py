"""Pairs in both orders, with opposite labels."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from icm_annealer.builders.built import Built, fields_of, text_of
from icm_annealer.sources.row import Row
from icm_client.contract.errors import RequestError
from icm_client.text.counts import counted

FIELDS = ("choice", "choice_2")
GOLD, NO_GOLD = "label", "none"
"""The usual name of the field with gold labels, and what is given for none."""
OPPOSITES: tuple[tuple[Any, Any], ...] = (
    (True, False),
    (1, 0),
    ("True", "False"),
    ("TRUE", "FALSE"),
    ("true", "false"),
    ("1", "0"),
)
"""Truth values and their negations; any other two labels are each other's opposites."""


class TextPair(NamedTuple):
    """Two texts to compare; `first_wins` is gold, None where it is not known."""

    first: str
    second: str
    first_wins: bool | None
    shared: dict[str, Any]
    """Fields that both orders have, such as the question."""


def in_both_orders(name: str, number: int, pair: TextPair, rng: np.random.Generator) -> list[dict[str, Any]]:
    """A pair's two rows, with ids `name-number-a` and `-b`, in random order so that the position says nothing."""
    if rng.integers(2):
        wins = None if pair.first_wins is None else not pair.first_wins
        pair = TextPair(pair.second, pair.first, wins, pair.shared)
    row: dict[str, Any] = {"id": f"{name}-{number:05d}-a", **pair.shared}
    row |= {FIELDS[0]: pair.first, FIELDS[1]: pair.second}
    row |= {"label": pair.first_wins, "consistency_id": number}
    mirror = row | {"id": f"{name}-{number:05d}-b", FIELDS[0]: pair.second, FIELDS[1]: pair.first}
    if pair.first_wins is None:
        del row["label"], mirror["label"]
    else:
        mirror["label"] = not pair.first_wins
    return [row, mirror]


def opposed(
    name: str, winners: Sequence[str], losers: Sequence[str], num_pairs: int, rng: np.random.Generator
) -> list[dict[str, Any]]:
    """Random pairs of one text of each kind, each text used once, in both orders; fewer if the texts run out."""
    first, second = rng.permutation(len(winners)), rng.permutation(len(losers))
    rows: list[dict[str, Any]] = []
    for number, (i, j) in enumerate(list(zip(first, second, strict=False))[:num_pairs]):
        rows += in_both_orders(name, number, TextPair(winners[i], losers[j], True, {}), rng)
    return rows


def mirror(rows: Iterable[Row], fields: tuple[str, str], gold: str | None, group: str, id_field: str) -> Built:
    """Adds after every row its mirror image: the two fields are swapped, and gold (if known) is inverted.

    `group` becomes the pair's number and `-mirror` is appended to `id_field`; all other fields stay. `gold` None means
    that the field is called "label", if there is one; NO_GOLD that there is none.

    Raises RequestError if the file already holds mirror images, if gold has no opposite or is nowhere though it is
    named, or if it is not named and another field looks like gold, since a copy would be wrong in the mirror image.
    """
    known = [(row, fields_of(row)) for row in rows]
    gold = _gold_field(known, gold, (*fields, group, id_field))
    opposite = _opposites(known, gold)
    seen: dict[tuple[str, str, str], str] = {}
    out: list[dict[str, Any]] = []
    for number, (row, values) in enumerate(known):
        first, second = (text_of(row, field) for field in fields)
        shared = repr(
            sorted((name, value) for name, value in values.items() if name not in (*fields, gold, group, id_field))
        )
        if (shared, second, first) in seen:
            raise RequestError(f"{row.where}: is the mirror of {seen[shared, second, first]}; give each pair once")
        seen[shared, first, second] = row.where
        row_id = number if values.get(id_field) is None else values[id_field]
        turned = {id_field: f"{row_id}-mirror", fields[0]: values[fields[1]], fields[1]: values[fields[0]]}
        if values.get(gold) is not None:
            turned[gold] = opposite[_key(values[gold])]
        out.append(values | {id_field: row_id, group: number})
        out.append(out[-1] | turned)
    unknown = sum(values.get(gold) is None for _, values in known)
    return Built(out, [f"{counted(unknown, 'pair has', 'pairs have')} no {gold or GOLD!r}"] if unknown else [])


def _gold_field(rows: Sequence[tuple[Row, dict[str, Any]]], named: str | None, others: Collection[str]) -> str:
    there = dict.fromkeys(name for _, values in rows for name in values)
    if named == NO_GOLD:
        return ""
    field = named or GOLD
    if field in there or not rows:
        return field
    if named is not None:
        raise RequestError(f"--gold: no row has the field {named!r} (there are: {', '.join(list(there)[:20])})")
    truths = {_key(value) for pair in OPPOSITES for value in pair}
    for name in there:
        found = {_key(values[name]) for _, values in rows if isinstance(values.get(name), str | int | float | bool)}
        if name not in others and found and (found <= truths or len(found) == 2 < len(rows)):
            raise RequestError(
                f"there is no field {GOLD!r}, and {name!r} has two values, as labels have, which would be wrong in a "
                f"mirror image: say --gold {name}, or --gold {NO_GOLD} if no field holds labels"
            )
    return field


def _key(value: Any) -> tuple[str, Any]:
    return type(value).__name__, value  # True == 1, but they are not the same label


def _opposites(rows: Iterable[tuple[Row, dict[str, Any]]], gold: str) -> dict[tuple[str, Any], Any]:
    """Gold value -> its opposite, by `_key`: the file's other label, or the negation of a truth value."""
    found: dict[tuple[str, Any], Any] = {}
    for row, values in rows:
        value = values.get(gold)
        if isinstance(value, dict | list):
            raise RequestError(f"{row.where}: {gold!r} is not a plain value")
        if value is not None:
            found[_key(value)] = value
    opposite = {_key(a): b for pair in OPPOSITES for a, b in (pair, pair[::-1])}
    others = [value for key, value in found.items() if key not in opposite]
    if others and len(found) != 2:
        some = ", ".join(repr(value) for value in list(found.values())[:5])
        raise RequestError(
            f"{gold!r} has {len(found)} different values ({some}), so the opposite of each cannot be known; "
            "there have to be two, or true and false"
        )
    if others:
        a, b = found.values()
        opposite |= {_key(a): b, _key(b): a}
    return opposite
