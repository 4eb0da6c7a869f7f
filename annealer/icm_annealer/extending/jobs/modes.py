"""The ways in which an extension labels rows, by name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple

from icm_annealer.extending.core import Core
from icm_annealer.extending.extend import By, by_contexts, by_neighbours
from icm_annealer.extending.jobs.batches import by_batches
from icm_annealer.extending.settings import ExtendSettings
from icm_annealer.scoring.passes import Scorer
from icm_client.contract.errors import RequestError


class Mode(NamedTuple):
    """One way."""

    help: str
    open: Callable[[Scorer, Core, ExtendSettings, str], Awaitable[By]]
    """With a scorer, a core, the settings, and the name under which the scorer counts this work."""


MODES: Mapping[str, Mode] = {
    "shots": Mode("behind shots of the core", by_contexts),
    "neighbours": Mode("behind shots, and unclear rows also behind the core's examples most like them", by_neighbours),
    "batches": Mode("by independent searches over batches of 256 rows, as in the paper", by_batches),
}


def find_mode(name: str) -> Mode:
    """Raises RequestError for a name that is none."""
    if name not in MODES:
        raise RequestError(f"--mode {name}: there are {', '.join(MODES)}")
    return MODES[name]
