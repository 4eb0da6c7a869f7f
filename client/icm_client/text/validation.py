"""A pydantic error as one line, without the value that it is about. A leaf."""

from __future__ import annotations

import pydantic


def first_mistake(error: pydantic.ValidationError, *, whole: str) -> str:
    """`prompts.3: Input should be a valid string`: the first field that is wrong, and everything wrong with it.

    `whole` names what was validated, for an error about all of it.
    """
    errors = error.errors(include_url=False, include_input=False)
    where = _where(errors[0]["loc"])
    what = dict.fromkeys(each["msg"][:200] for each in errors if _where(each["loc"]) == where)
    return f"{where or whole}: {', or '.join(what)}"


def _where(loc: tuple[int | str, ...]) -> str:
    """`prompts.3` for ("prompts", 3, "list[nullable[int]]", 0): without the names of union members."""
    parts = [str(part)[:100] for part in loc[:1]]
    parts += [str(part) for part in loc[1:] if isinstance(part, int)]
    return ".".join(parts)
