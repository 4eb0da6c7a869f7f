"""The ways in which an extension labels rows, by name, and the settings that each has."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from icm_annealer.extending.core import Core
from icm_annealer.extending.extend import By, by_contexts, by_neighbours
from icm_annealer.extending.jobs.batches import BATCH_ROWS, by_batches
from icm_annealer.extending.neighbours import NUM_NEIGHBOURS
from icm_annealer.extending.settings import ExtendSettings
from icm_annealer.scoring.passes import Scorer
from icm_client.contract.errors import RequestError
from icm_client.text.counts import counted

BEHIND_SHOTS = ("contexts", "shots", "reads", "sample")


def _reads(settings: ExtendSettings) -> str:
    return f"{1 + settings.share_read_again * (settings.contexts - 1):.2f} reads a row behind "


def _shots(settings: ExtendSettings, num_rows: int) -> str:
    return f"{_reads(settings)}{counted(settings.contexts, 'context')} of the core's shots"


def _neighbours(settings: ExtendSettings, num_rows: int) -> str:
    shared = counted(settings.contexts - 1, "context")
    return f"{_reads(settings)}{shared} of the core's shots, and behind its {NUM_NEIGHBOURS} examples most like the row"


def _batches(settings: ExtendSettings, num_rows: int) -> str:
    num = math.ceil(num_rows / BATCH_ROWS)
    return f"{counted(num, 'search', 'searches')} of {math.ceil(num_rows / num):,} rows each, like the core's"


class Mode(NamedTuple):
    """One way."""

    help: str
    describe: Callable[[ExtendSettings, int], str]
    """What is done for so many rows."""
    open: Callable[[Scorer, Core, ExtendSettings, str], Awaitable[By]]
    """With a scorer, a core, the settings, and the name under which the scorer counts this work."""
    takes: Collection[str] = BEHIND_SHOTS
    """The names of the settings that labels depend on, besides the seed."""
    least_contexts: int = 1
    """More than one where the last of them is each row's own."""


MODES: Mapping[str, Mode] = {
    "shots": Mode("behind shots of the core", _shots, by_contexts),
    "neighbours": Mode(
        "behind shots, and unclear rows also behind the core's examples most like them",
        _neighbours,
        by_neighbours,
        least_contexts=2,
    ),
    "batches": Mode(
        f"by independent searches over batches of up to {BATCH_ROWS} rows, as in the paper", _batches, by_batches, ()
    ),
}


def find_mode(name: str) -> Mode:
    """Raises RequestError for a name that is none."""
    if name not in MODES:
        raise RequestError(f"--mode {name}: there are {', '.join(MODES)}")
    return MODES[name]


def extend_settings(
    mode: str, seed: int, given: Mapping[str, float | None], *, is_tuned: bool = False
) -> ExtendSettings:
    """The settings of a mode, or of an extension by a tuned model, which reads every row once. None in `given` is the
    default. Raises RequestError for one out of range, or that is not a setting there."""
    found, what = find_mode(mode), f"--mode {mode}"
    takes, settings = found.takes, ExtendSettings(mode=mode, seed=seed)
    if is_tuned:
        what, takes, settings = "--by", ("sample",), ExtendSettings(contexts=1, reads=1.0, seed=seed)
    chosen: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    for name in chosen:
        if name not in takes:
            raise RequestError(f"--{name} ({name}= in Python) is no setting of {what}: leave it out")
    if chosen.get("contexts", found.least_contexts) < found.least_contexts:
        raise RequestError(f"{what} needs --contexts {found.least_contexts} at least: the last is each row's own")
    return replace(settings, **chosen)
