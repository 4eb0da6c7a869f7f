"""What other installed packages register by entry points. Only what is asked for by name is imported."""

from __future__ import annotations

import importlib.metadata
from typing import TypeVar

from icm_client.contract.errors import RequestError

Kind = TypeVar("Kind")


def installed_names(group: str) -> list[str]:
    """The names that installed packages register in an entry-point group, sorted; imports nothing."""
    return sorted({point.name for point in importlib.metadata.entry_points(group=group)})


def load_installed(group: str, name: str, noun: str, expected: type[Kind]) -> Kind | None:
    """What an installed package registers as `name`, an instance of `expected`; None if no package does.

    Raises RequestError, which calls it a `noun`, if several packages register the name, if importing it fails, or if
    it is something else.
    """
    points = {point.value: point for point in importlib.metadata.entry_points(group=group) if point.name == name}
    if not points:
        return None
    if len(points) > 1:
        raise RequestError(
            f"several installed packages register the {noun} {name!r}: {', '.join(sorted(points))}; uninstall all "
            "but one",
            code="bad_plugin",
        )
    ((value, point),) = points.items()
    try:
        loaded = point.load()
    except Exception as error:  # whatever a module does when it is imported
        raise RequestError(
            f"the installed {noun} {name!r} ({value}) cannot be imported: {type(error).__name__}: {error}",
            code="bad_plugin",
        ) from None
    if not isinstance(loaded, expected):
        raise RequestError(
            f"the installed {noun} {name!r} ({value}) is a {type(loaded).__name__}, not a {expected.__name__}",
            code="bad_plugin",
        )
    return loaded
