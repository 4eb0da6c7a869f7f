"""Shortens a pydantic error to one line without the invalid value, which may be long or secret. A leaf."""

from __future__ import annotations

import re

import pydantic

MAX_PART, MAX_MESSAGE = 100, 200
"""The most characters shown of a path component, and of a message."""
TYPE = re.compile(r".*\[.*|(constrained-)?(str|int|float|bool|none)")
"""pydantic's names for the members of a union."""


def first_error(error: pydantic.ValidationError, *, whole: str = "", skip: int = 0) -> str:
    """`prompts.3: Input should be a valid string`: the first field that is wrong, and everything wrong with it.

    The place leaves out its first `skip` parts. `whole` names what was validated, for an error about all of it.
    """
    errors = error.errors(include_url=False, include_context=False, include_input=False)
    place = _place(errors[0]["loc"][skip:])
    messages = dict.fromkeys(_message(each["msg"]) for each in errors if _place(each["loc"][skip:]) == place)
    where = place or whole
    return f"{where}: {', or '.join(messages)}" if where else ", or ".join(messages)


def _place(loc: tuple[int | str, ...]) -> str:
    """`prompts.3` for ("prompts", 3, "list[nullable[int]]"): without the names of types that were tried."""
    return ".".join(str(part)[:MAX_PART] for part in loc if not TYPE.fullmatch(str(part)))


def _message(text: str) -> str:
    return " ".join(text.removeprefix("Value error, ").split())[:MAX_MESSAGE]
