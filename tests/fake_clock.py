"""A wall clock that jumps under a program which runs, by libfaketime: `apt install libfaketime`, or the package of that
name (it needs a C compiler). The monotonic clock goes on, as when somebody sets the time, or a machine wakes up.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

NOTICED_WITHIN_S = 1.0


class FakeClock:
    """Start programs with `environment`, then `jump`."""

    def __init__(self, library: Path, folder: Path):
        self._offset = folder / "clock"
        self.jump("+0")
        self.environment = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._offset),
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }

    def jump(self, offset: str) -> None:
        """The clock is off by this much from now on: `-30d`, `+2h`."""
        fresh = self._offset.with_suffix(".new")
        fresh.write_text(f"{offset}\n")
        fresh.replace(self._offset)


def fake_clock(folder: Path) -> FakeClock | None:
    """None where the library is not installed."""
    found = next(_libraries(), None)
    return FakeClock(found, folder) if found else None


def _libraries() -> Iterator[Path]:
    yield from sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    package = importlib.util.find_spec("libfaketime")
    for place in package.submodule_search_locations or () if package else ():
        yield from Path(place).glob("vendor/libfaketime/src/libfaketime.so.1")
