"""Plugins that other installed packages register as entry points. Only the named plugin is imported."""

from __future__ import annotations

import importlib.metadata
from typing import TypeVar

from icm_client.contract.errors import RequestError

Kind = TypeVar("Kind")


def installed_names(group: str) -> list[str]:
    """The names that installed packages register in an entry-point group, sorted; imports nothing."""
    return sorted({point.name for point in importlib.metadata.entry_points(group=group)})


def load_installed(group: str, name: str, noun: str, expected: type[Kind]) -> Kind | None:
    """The plugin registered as `name`, an instance of `expected`; None if no installed package registers it.

    Raises RequestError if several packages register the name, if the import fails, or if the plugin has another type.
    `noun` names the kind of plugin in the message.
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
    except Exception as error:  # importing a module can raise anything
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
