"""Loads objects that installed packages register as entry points; imports only the one that is named."""

from __future__ import annotations

import functools
import sys
from importlib.metadata import EntryPoints, entry_points
from typing import TypeVar

from icm_client.contract.errors import RequestError

Kind = TypeVar("Kind")


def _installed(group: str) -> EntryPoints:
    return _installed_on(tuple(sys.path), group)


@functools.cache
def _installed_on(path: tuple[str, ...], group: str) -> EntryPoints:
    """Cached because it reads a file of every package on the path: tens of milliseconds."""
    return entry_points(group=group)


def installed_names(group: str) -> list[str]:
    """The names that installed packages register in an entry-point group, sorted; imports nothing."""
    return sorted(installed_packages(group))


def installed_packages(group: str) -> dict[str, str]:
    """For each name in an entry-point group the package that registers it; imports nothing."""
    return {point.name: point.dist.name if point.dist else point.module for point in _installed(group)}


def load_installed(group: str, name: str, noun: str, expected: type[Kind]) -> Kind | None:
    """The object that an installed package registers as `name`, an instance of `expected`; None if no package does.

    Raises RequestError if several packages register the name, if the import fails, or if the object has another type.
    `noun` is what the message calls the object.
    """
    points = {point.value: point for point in _installed(group) if point.name == name}
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
    except Exception as error:  # an import can raise anything
        problem = f"{type(error).__name__}: {error}".splitlines()[0]
        raise RequestError(
            f"the installed {noun} {name!r} ({value}) cannot be imported: {problem}",
            code="bad_plugin",
        ) from None
    if not isinstance(loaded, expected):
        raise RequestError(
            f"the installed {noun} {name!r} ({value}) is a {type(loaded).__name__}, not a {expected.__name__}",
            code="bad_plugin",
        )
    return loaded
