"""What pydantic found wrong, in one line. A leaf."""

from __future__ import annotations

import pydantic


def first_error(error: pydantic.ValidationError, *, skip: int = 0) -> str:
    """`where: what`, of the first thing that is wrong: `labels.0: Input should be a valid string`.

    `where` leaves out the first `skip` parts of its place, and is left out if the whole value is wrong. The value
    itself is not quoted: it may be long, or a secret.
    """
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    # A part in brackets is a type that pydantic tried.
    place = ".".join(str(part) for part in first["loc"][skip:] if "[" not in str(part))
    message = " ".join(first["msg"].removeprefix("Value error, ").split())
    return f"{place}: {message}" if place else message
