"""Shortens a pydantic error to one line without the invalid value, which may be long or secret. A leaf."""

from __future__ import annotations

import re

import pydantic
from pydantic_core import ErrorDetails

MAX_PART, MAX_MESSAGE = 100, 200
"""The most characters shown of a path component, and of a message."""
TYPE = re.compile(r".*\[.*|(constrained-)?(str|int|float|bool|none)")
"""pydantic's names for the members of a union."""


def first_error(error: pydantic.ValidationError, *, whole: str = "", skip: int = 0) -> str:
    """`prompts.3: Input should be a valid string`: the first field that is wrong, and everything wrong with it.

    The place leaves out its first `skip` parts. `whole` names what was validated, for an error about all of it.
    """
    return all_errors(error, whole=whole, skip=skip)[0]


def all_errors(error: pydantic.ValidationError, *, whole: str = "", skip: int = 0) -> list[str]:
    """Each field that is wrong, in the form of `first_error`, in order."""
    places: dict[str, dict[str, None]] = {}
    for each in error.errors(include_url=False, include_context=False, include_input=False):
        places.setdefault(_place(each["loc"][skip:]), {})[_message(each)] = None
    return [
        f"{where}: {', or '.join(messages)}" if (where := place or whole) else ", or ".join(messages)
        for place, messages in places.items()
    ]


def _place(loc: tuple[int | str, ...]) -> str:
    """`prompts.3` for ("prompts", 3, "list[nullable[int]]"): without the names of types that were tried."""
    return ".".join(str(part)[:MAX_PART] for part in loc if not TYPE.fullmatch(str(part)))


def _message(error: ErrorDetails) -> str:
    if error["type"] == "extra_forbidden":
        return "no such field"
    if error["type"] == "model_type":  # its own message names a class
        return "Input should be an object"
    return " ".join(error["msg"].removeprefix("Value error, ").split())[:MAX_MESSAGE]
