"""Room on the disk, before hours of work end with a full one. A leaf."""

from __future__ import annotations

import shutil
from pathlib import Path

from icm_client.contract.errors import RequestError


def check_room(folder: Path, needed: int, what: str) -> None:
    """Raises RequestError if the disk of `folder`, which exists, has fewer than `needed` free bytes."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise RequestError(
            f"{folder}: {what} needs {_size(needed)} and the disk has {_size(free)} free: make room, or give another "
            "--out",
            code="no_room",
        )


def _size(num: int) -> str:
    return f"{num / 1e9:.1f} GB" if num >= 10**9 else f"{num / 1e6:.0f} MB"
