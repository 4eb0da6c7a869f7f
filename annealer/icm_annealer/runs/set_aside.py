"""What a new result replaces in a folder, kept aside until the new one has begun: a scorer that does not answer costs
nobody an earlier result."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

ASIDE = ".replaced"


def set_aside(folder: Path, names: Iterable[str]) -> None:
    """Moves those of these files and folders that exist."""
    for name in names:
        if (folder / name).exists():
            (folder / ASIDE).mkdir(exist_ok=True)
            os.replace(folder / name, folder / ASIDE / name)


def is_any_aside(folder: Path) -> bool:
    return (folder / ASIDE).is_dir()


def put_back(folder: Path) -> None:
    """Moves what is aside back, in the place of what has the same name. Does nothing if nothing is aside."""
    if not is_any_aside(folder):
        return
    for path in (folder / ASIDE).iterdir():
        place = folder / path.name
        if place.is_dir():
            shutil.rmtree(place)
        os.replace(path, place)
    (folder / ASIDE).rmdir()


def drop(folder: Path) -> None:
    """Removes what is aside."""
    shutil.rmtree(folder / ASIDE, ignore_errors=True)
