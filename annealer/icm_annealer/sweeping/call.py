"""`sweep`: many runs and their table, from Python."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from icm_annealer.api.event_loop import run_blocking
from icm_annealer.console.sweep_progress import SweepProgress
from icm_annealer.console.watch import watched
from icm_annealer.scorers.registry import DEFAULT_SCORER
from icm_annealer.sweeping.folder import prepared, write_table
from icm_annealer.sweeping.mistakes import Mistakes
from icm_annealer.sweeping.plan import ScorerDefaults, make_plan
from icm_annealer.sweeping.ray_cluster import place_of
from icm_annealer.sweeping.spec import read_spec, spec_of
from icm_annealer.sweeping.sweep import SweepLimits, Swept, run_sweep
from icm_annealer.sweeping.sweep_result import SweepResult
from icm_client.contract.errors import RequestError
from icm_client.text.counts import counted

LIMITS = SweepLimits()


def sweep(
    what: str | os.PathLike[str] | Mapping[str, Any],
    *,
    out: str | os.PathLike[str] | None = None,
    only: str | None = None,
    max_parallel: int = LIMITS.max_parallel,
    max_tokens: int | None = None,
    retries: int = LIMITS.num_retries,
    ray: str | None = None,
    overwrite: bool = False,
    scorer: str = DEFAULT_SCORER,
    api_key: str | None = None,
    engine: str = "vllm",
    wait_s: float | None = None,
    experiment: str | None = None,
    allow_code: bool = False,
    progress: bool | None = None,
) -> SweepResult:
    """Makes many runs and compares them, as `icm sweep` does: tasks x settings x models x scorers x seeds. Blocks until
    all have ended.

    The same call continues what was stopped: finished runs are kept, begun ones resumed, failed ones tried again. A run
    that fails does not stop the others.

    Args:
        what: The path of a sweep's file, or a mapping with the same keys. Files that a mapping names are relative to
            the current folder.
        out: The sweep's folder, by default `runs/NAME`, by the file's name. A mapping needs one.
        only: Only runs with such names: `"living.*"`, `"*/seed-0"`.
        max_parallel: The most runs at a time on each scorer.
        max_tokens: Ask for nothing more once the engines have computed so many tokens for all runs together, over all
            calls; a larger number continues.
        retries: How often to try a run again that failed, other than by a mistake, with growing pauses.
        ray: Make the runs on the Ray cluster at `"HOST:PORT"`, or `"auto"` for the one of this machine or the one that
            this process has joined. All nodes must see `out`, the file and what it names.
        overwrite: Replace runs of other data or settings than those described now.
        scorer: A scorer's name, where `what` names no scorers.
        api_key: The API key of scorers without an `api_key_file`.
        engine: The engine of a `local:` scorer that is named here.
        wait_s: Seconds to wait for a scorer that is not ready.
        experiment: As in `label`, for all runs; by default each has a name of its own.
        allow_code: Run code that a task file names, with your rights.
        progress: As in `label`.

    Returns:
        The table and the runs, read from what was written.

    Raises:
        RequestError: The sweep is wrong. All its mistakes are found before anything is started; `lines` of the error
            holds them if there are several. Or another sweep is made in the folder.

    Warns:
        UserWarning: Runs are not done: see `SweepResult.failed`.

    Examples:
        >>> import icm_annealer as icm
        >>> what = {"tasks": {"living": {"first": 8}}, "settings": {"quick": {"search": "zero_shot"}}}
        >>> result = icm.sweep(what, out="runs/quick", scorer="fake:", progress=False)
        >>> result.runs[0].name, result.failed
        ('living.quick.scorer/seed-0', [])
    """
    limits = SweepLimits(max_parallel, max_tokens, retries)
    defaults = ScorerDefaults(scorer, engine, wait_s, lambda: api_key, None, experiment)
    if ray is not None and api_key is not None:
        raise RequestError("ray= with api_key=: give the scorers of the sweep an `api_key_file` instead")
    mistakes = Mistakes()
    if isinstance(what, Mapping):
        if out is None:
            raise RequestError("out= is missing: a sweep that no file describes has no folder of its own")
        spec, beside, folder = spec_of(what, mistakes), Path(), Path(out)
    else:
        file = Path(what)
        spec, beside, folder = read_spec(file, mistakes), file.parent, Path(out or Path("runs", file.stem))
    whole = make_plan(spec, beside, folder, defaults, allow_code=allow_code, mistakes=mistakes)
    plan = whole.only(only)
    shown = SweepProgress(watched(progress), f"sweep: {folder.name}")
    for note in plan.notes:
        shown.note(note)

    async def work() -> Swept:
        with shown:
            return await run_sweep(plan, held, limits, shown, place)

    with prepared(whole, plan, overwrite=overwrite) as held, place_of(ray, plan) as place:
        table = write_table(plan, run_blocking(work()).outcomes)
    if table.failed:
        first = table.failed[0]
        num = counted(len(table.failed), "run")
        warnings.warn(f"{num} not done, such as {first.name}, {first.ended}: {first.reason}", stacklevel=2)
    return SweepResult(folder)
