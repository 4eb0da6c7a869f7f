"""`extend`: label many further rows by a finished run, from Python."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from icm_annealer.api.event_loop import run_blocking
from icm_annealer.api.extension_result import ExtensionResult, open_extension
from icm_annealer.api.inputs import rows_of, way_to_read
from icm_annealer.api.job import alone
from icm_annealer.api.label import opener
from icm_annealer.api.label_result import LabelResult
from icm_annealer.console.row_throughput import Throughput
from icm_annealer.console.watch import watch
from icm_annealer.data.task import Task, with_rates
from icm_annealer.extending.chunks import Source, row_json
from icm_annealer.extending.core import Core
from icm_annealer.extending.extend import Progress
from icm_annealer.extending.jobs.job import ExtendJob
from icm_annealer.extending.jobs.modes import extend_settings, find_mode
from icm_annealer.extending.journal import ROWS
from icm_annealer.extending.labelled_rows import folder_of
from icm_annealer.extending.settings import ExtendSettings
from icm_annealer.runs.atomic_write import write_whole
from icm_annealer.scorers.kind import Opening
from icm_annealer.scorers.registry import DEFAULT_SCORER
from icm_annealer.scoring.passes import Scorer
from icm_client.contract.errors import RequestError

TEMPORARY = "icm-extension-"
DEFAULTS = ExtendSettings()


def extend(
    core: LabelResult | str | os.PathLike[str],
    rows: Iterable[Any] | str | os.PathLike[str],
    *,
    out: str | os.PathLike[str] | None = None,
    mode: str = DEFAULTS.mode,
    by: str | os.PathLike[str] | None = None,
    contexts: int | None = None,
    shots: int | None = None,
    reads: float | None = None,
    sample: int | None = None,
    check: int | None = None,
    seed: int = DEFAULTS.seed,
    rates: Mapping[str, float | Sequence[float]] | None = None,
    columns: Sequence[str] | None = None,
    encoding: str | None = None,
    skip_bad: bool = False,
    resume: bool = False,
    overwrite: bool = False,
    scorer: str | Scorer | Any = DEFAULT_SCORER,
    api_key: str | None = None,
    scorer_model: str | None = None,
    engine: str = "vllm",
    wait_s: float | None = None,
    experiment: str | None = None,
    allow_code: bool = False,
    progress: bool | None = None,
) -> ExtensionResult:
    """Labels any number of further rows by a finished run, its labelled core, as `icm extend` does: about one shot a
    row. Blocks until all are labelled.

    Args:
        core: The finished run: a LabelResult, or its folder.
        rows: Rows like those of the core; best the path of a file, of which a few thousand rows are in memory at a
            time. Rows in memory, as `label` takes them, are first copied into the extension's folder.
        out: The file of labels: `.jsonl`, `.csv` or `.parquet`; beside it lies `OUT.extension`, a folder. By default a
            temporary file that is removed together with the result.
        mode: `"shots"` labels rows behind shots of the core, `"neighbours"` unclear ones also behind the core's
            examples most like them, `"batches"` by independent searches over batches of up to 256.
        by: The folder of a model that `icm train sft` tuned on the core, which labels rows without shots in front of
            them; it needs the extra `train`, and no scorer.
        contexts: How many contexts of shots are drawn from the core; by default 2. With `mode="batches"` or `by`, this
            and the next two are errors, and with batches `sample` too.
        shots: Shots in a context; by default 64.
        reads: Reads a row, on average: every row is read behind one context, the least clear ones behind all. By
            default 1.25.
        sample: The most rows that calibrate the scores; by default 1,024.
        check: Random rows that a search of their own labels, too, and that are compared; by default 64 of 10,000 rows
            or more.
        seed: The seed of all random numbers.
        rates: Label name -> the share of rows that have it, as in `label`; replaces the core's.
        columns: As in `label`.
        encoding: As in `label`.
        skip_bad: Leave out rows that cannot be used or are too long; otherwise they are an error, all together.
        resume: Continue the extension at `out`. Core, data, settings and model must be the same.
        overwrite: Replace the extension at `out`.
        scorer: As in `label`.
        api_key: The scorer's API key.
        scorer_model: The model's name at an `openai:` endpoint that serves several.
        engine: The engine of a `local:` scorer.
        wait_s: Seconds to wait for a scorer that is not ready.
        experiment: As in `label`.
        allow_code: Run code that the core's rules name, with your rights.
        progress: As in `label`.

    Returns:
        Labels, their certainty and figures, read from what was written.

    Raises:
        RequestError: The call is wrong: core, rows, settings, or a file that is there already.
        IcmError: The scorer cannot be reached, refuses, or fails. What was labelled is kept, and the same call with
            `resume=True` continues, if `out` is given.

    Examples:
        >>> import icm_annealer as icm
        >>> words = ["red", "blue", "rose", "navy", "ruby", "teal"]
        >>> core = icm.label(words, template="{word}:", labels=["warm", "cold"], scorer="fake:", progress=False)
        >>> more = icm.extend(core, ["scarlet", "azure", "crimson"], scorer="fake:", progress=False)
        >>> len(more.labels)
        3
    """
    if resume and out is None:
        raise RequestError("resume=True needs out=, the file of the extension to continue")
    read = Core.read(core.folder if isinstance(core, LabelResult) else Path(core), allow_code=allow_code)
    if rates is not None:
        read = read.with_task(with_rates(read.task, rates))
    if by is not None and (mode != DEFAULTS.mode or check):
        raise RequestError("by= labels without a scorer: leave out mode= and check=")
    given = {"contexts": contexts, "shots": shots, "reads": reads, "sample": sample}
    found_mode, settings = find_mode(mode), extend_settings(mode, seed, given, is_tuned=by is not None)
    open_scorer = opener(scorer, Opening(lambda: api_key, scorer_model, engine, wait_s)) if by is None else None
    is_kept, temporary = out is not None, tempfile.mkdtemp(prefix=TEMPORARY) if out is None else None
    place = Path(temporary, "labels.jsonl") if temporary is not None else Path(out or "")
    here = folder_of(place) / ROWS
    file = os.fspath(rows) if isinstance(rows, str | os.PathLike) else None
    if file is None and (columns or encoding):
        raise RequestError("columns= and encoding= are for a file; rows in memory have their own names")
    # Rows in memory are written as UTF-8, whatever the task says of its own data.
    source = Source(file or here, read.task, way_to_read(columns or (), encoding if file else "utf-8", skip_bad))
    job = ExtendJob(read, source, place, settings, resume, overwrite, check, experiment)

    async def work() -> None:
        with watch(progress, f"extend: {read.name}", read.task.label_names) as shown:
            seen = Throughput(shown)
            callbacks = Progress(shown.status, seen.expect, seen.rows)
            if open_scorer is None:
                from icm_trainer.cli.judged import labelled_by

                assert by is not None
                await job.run(labelled_by(Path(by), read.task, shown.note), None, callbacks)
                return
            async with open_scorer(shown.status, shown.note, None) as client:
                behind = await found_mode.open(client, read, settings, job.counted_as)
                await job.run(behind, client, callbacks)

    try:
        job.prepare()
        with alone(job.folder):
            if file is None:
                _write_rows(here, rows, read.task)
            run_blocking(work())
        result = open_extension(place)
        is_kept = True
    finally:
        if temporary is not None and not is_kept:
            shutil.rmtree(temporary, ignore_errors=True)
    if temporary is not None:
        weakref.finalize(result, shutil.rmtree, temporary, ignore_errors=True)
    return result


def _write_rows(path: Path, rows: Any, task: Task) -> None:
    """Rows in memory as a file, which is read as often as needed."""

    def write(place: Path) -> None:
        with place.open("wb") as file:
            file.writelines(row_json(row.value) + b"\n" for row in rows_of(rows, task))

    write_whole(path, write)
