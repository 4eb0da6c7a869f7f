"""Numbers of things, in words. A leaf."""

from __future__ import annotations


def counted(num: int, one: str, many: str = "") -> str:
    """`1 row`, `1,200 rows`. `one` may be a phrase, and then `many` is needed: `1 label is`, `3 labels are`."""
    return f"{num:,} {one if num == 1 else many or _plural(one)}"


def _plural(noun: str) -> str:
    return f"{noun}es" if noun.endswith(("s", "x")) else f"{noun}s"


def seconds(value: float) -> str:
    """`300 s`, `0.5 s`: in whole seconds from 10 on, otherwise with two digits."""
    return f"{value:.0f} s" if value >= 10 else f"{value:.2g} s"
