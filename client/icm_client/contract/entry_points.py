"""Loads objects that installed packages register as entry points; imports only the one that is named."""

from __future__ import annotations

import functools
import sys
from collections.abc import Collection
from dataclasses import dataclass
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from typing import Generic, TypeVar

from icm_client.contract.errors import RequestError

Kind = TypeVar("Kind")


@dataclass(frozen=True)
class EntryPointGroup(Generic[Kind]):
    """What installed packages add to a registry of built-in objects: other names, never another object of the same
    name."""

    name: str
    """The group of entry points, such as `icm.searches`."""
    noun: str
    """What messages call an object of the group."""
    expected: type[Kind]
    """The type of every object."""
    built_in: Collection[str] = ()
    """The names of the built-in objects."""

    def packages(self) -> dict[str, str]:
        """For each name, in alphabetical order, the package that registers it. Imports nothing. Leaves out names of
        built-in objects."""
        points = sorted(_points(self.name), key=lambda point: point.name)
        return {point.name: _package(point) for point in points if point.name not in self.built_in}

    def names(self) -> list[str]:
        """The registered names, sorted, without those of built-in objects. Imports nothing."""
        return list(self.packages())

    def load(self, name: str) -> Kind | None:
        """The object that an installed package registers as `name`; None if no package does.

        Raises RequestError if the name is that of a built-in object, if several packages register it, if the import
        fails, or if the object has another type.
        """
        points = {point.value: point for point in _points(self.name) if point.name == name}
        if not points:
            return None
        packages = sorted({_package(point) for point in points.values()})
        if name in self.built_in:
            raise _bad(
                f"{' and '.join(packages)} registers the {self.noun} {name!r}, which is built in: uninstall "
                f"{' and '.join(packages)}"
            )
        if len(points) > 1:
            places = ", ".join(f"{value} of {_package(point)}" for value, point in sorted(points.items()))
            raise _bad(
                f"several installed packages register the {self.noun} {name!r} ({places}): uninstall all but one"
            )
        ((value, point),) = points.items()
        try:
            loaded = point.load()
        except Exception as error:  # an import can raise anything
            problem = f"{type(error).__name__}: {error}".splitlines()[0]
            raise _bad(f"the installed {self.noun} {name!r} ({value}) cannot be imported: {problem}") from None
        if not isinstance(loaded, self.expected):
            raise _bad(
                f"the installed {self.noun} {name!r} ({value}) has the type {type(loaded).__name__} instead of "
                f"{self.expected.__name__}"
            )
        return loaded


def _points(group: str) -> EntryPoints:
    return _points_on(tuple(sys.path), group)


@functools.cache
def _points_on(path: tuple[str, ...], group: str) -> EntryPoints:
    """Cached because it reads a file of every package on the path: tens of milliseconds."""
    return entry_points(group=group)


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist else point.module


def _bad(message: str) -> RequestError:
    return RequestError(message, code="bad_plugin")
