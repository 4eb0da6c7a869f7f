"""`label` and `anneal`: label data from Python."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
import warnings
import weakref
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from icm_annealer.api.blocking_scorer import awaitable
from icm_annealer.api.event_loop import run_blocking
from icm_annealer.api.inputs import (
    Labels,
    index_of,
    load_rows,
    settings_of,
    start_from,
    task_of,
    way_to_read,
    with_known_labels,
)
from icm_annealer.api.job import LabelJob, OpenScorer
from icm_annealer.api.label_result import LabelResult
from icm_annealer.console.watch import watch
from icm_annealer.data.task import Task, with_rates
from icm_annealer.labelling.budget import Budget
from icm_annealer.runs.directory import JOURNAL, RunDir
from icm_annealer.scorers.kind import Opening
from icm_annealer.scorers.registry import DEFAULT_SCORER, find_scorer
from icm_annealer.scoring.passes import Scorer
from icm_annealer.tracking.beside import tracked_in_loop
from icm_annealer.tracking.target import Target
from icm_client.contract.errors import RequestError

TEMPORARY = "icm-run-"


def label(
    rows: Iterable[Any] | str | os.PathLike[str] | None = None,
    *,
    template: str | None = None,
    labels: Labels | None = None,
    task: Task | str | os.PathLike[str] | None = None,
    scorer: str | Scorer | Any = DEFAULT_SCORER,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    search: str = "blocks",
    seed: int = 0,
    columns: Sequence[str] | None = None,
    encoding: str | None = None,
    skip_bad: bool = False,
    rates: Mapping[str, float | Sequence[float]] | None = None,
    known: Mapping[Any, str] | Sequence[str | None] | str | os.PathLike[str] | None = None,
    start: str | os.PathLike[str] | None = None,
    api_key: str | None = None,
    scorer_model: str | None = None,
    engine: str = "vllm",
    wait_s: float | None = None,
    experiment: str | None = None,
    allow_code: bool = False,
    track: str | None = None,
    max_tokens: int | None = None,
    max_minutes: float | None = None,
    progress: bool | None = None,
    **settings: Any,
) -> LabelResult:
    """Searches for the labels that a language model finds most coherent, and blocks until they are found.

    Works in scripts, in threads, and in notebooks, where an event loop is running. Ctrl-C raises KeyboardInterrupt;
    the folder's journal then holds the model's answers so far, and the same call with `resume=True` continues.

    Args:
        rows: Mappings with the fields that the template names; texts, if it names one field; a DataFrame (pandas or
            polars); a Dataset; or the path of a file (JSON lines, CSV, Parquet, ...) or `hf:owner/name`. May be left
            out if the task names its data.
        template: The text of an example, such as `"Text: {text}\\nLabel:"`. The label's text follows it directly.
        labels: Label name -> its text in prompts, with its leading space (`{"spam": " spam"}`), or a list of names.
        task: Instead of `template` and `labels`: a Task, a task file's path, or the name of a built-in task.
        scorer: `"local:MODEL"` starts a scorer for this call, `"http://HOST:PORT"` is a running icm-server,
            `"openai:URL"` any OpenAI-compatible server, `"fake:"` a scorer without a model, for trials. Or a client:
            a ScorerClient, a SyncScorerClient, or any Scorer, which is left open.
        out: The folder for journal, labels and metrics. By default a temporary folder that is removed together with
            the result.
        resume: Continue the run in `out`. Data, task, settings and model must be the same.
        overwrite: Replace the run in `out`.
        search: The search, such as `"blocks"` (ours) or `"official"` (the paper's).
        seed: The seed of all random numbers.
        columns: The names of the columns, for a file whose first row does not name them; by default the task's own, or
            the first row.
        encoding: The text encoding of a file, such as `"cp1252"`; UTF-8 and UTF-16 are recognised.
        skip_bad: Leave out rows that cannot be used, and write them to `skipped.jsonl` in the folder; otherwise they
            are an error, all together.
        rates: Label name -> the share of examples that have it, or its least and greatest share: `{"spam": 0.13}`,
            `{"spam": [0.1, 0.2]}`. Labels that are not named share the rest freely. Replaces the task's; `{}` states
            none.
        known: Labels that are known and stay as they are: example id -> label name, or one label or None for each row,
            or the path of a file with the fields id and label, or a run's folder, for the labels that people decided
            there. Unlike gold labels, the search uses them.
        start: The folder of a finished run, whose labels the search starts from; those that people decided are known.
            Examples that it does not hold start without a label.
        api_key: The scorer's API key.
        scorer_model: The model's name at an `openai:` endpoint that serves several.
        engine: The engine of a `local:` scorer.
        wait_s: Seconds to wait for a scorer that is unreachable or not ready; by default 300, or 5 as long as nothing
            accepts a connection.
        experiment: The name under which the scorer counts this work, and by which it has one of several scorers; by
            default a name of its own, after the folder.
        allow_code: Run code that a task file names (rules of kind `python`), with your rights.
        track: Also show the run in a tracker: `"mlflow:URI"`, `"trackio:PROJECT"`, or one that a package registers. A
            tracker that fails does not stop the run.
        max_tokens: The most tokens that the engine may compute for the search, about: it then ends with its best labels
            so far, and says so in the verdict. `resume=True` with a larger number, or none, goes on.
        max_minutes: The most minutes of waiting for the scorer, in the same way.
        progress: True shows progress, False does not; by default it is shown in terminals and notebooks.
        **settings: Other fields of Settings, such as `plan="tree"` or `measure="logprob"`.

    Returns:
        Labels, their certainty and the probabilities of all labels, in the rows' order.

    Raises:
        RequestError: The call is wrong: rows, task, settings, or a folder that holds a run already.
        IcmError: The scorer cannot be reached, refuses, or fails.

    Warns:
        UserWarning: An alarm of level "warning": the labels are probably not what you want (`anneal` does not warn;
            read `LabelResult.alarms`).

    Examples:
        >>> import icm_annealer as icm
        >>> result = icm.label(
        ...     ["red", "blue", "rose", "navy", "ruby", "teal"],
        ...     template="Colour: {name}\\nKind:",
        ...     labels=["warm", "cold"],
        ...     scorer="fake:",
        ... )
        >>> len(result.labels)
        6
    """
    result = run_blocking(
        anneal(
            rows,
            template=template,
            labels=labels,
            task=task,
            scorer=scorer,
            out=out,
            resume=resume,
            overwrite=overwrite,
            search=search,
            seed=seed,
            columns=columns,
            encoding=encoding,
            skip_bad=skip_bad,
            rates=rates,
            known=known,
            start=start,
            api_key=api_key,
            scorer_model=scorer_model,
            engine=engine,
            wait_s=wait_s,
            experiment=experiment,
            allow_code=allow_code,
            track=track,
            max_tokens=max_tokens,
            max_minutes=max_minutes,
            progress=progress,
            **settings,
        )
    )
    _warn(result)
    return result


async def anneal(
    rows: Iterable[Any] | str | os.PathLike[str] | None = None,
    *,
    template: str | None = None,
    labels: Labels | None = None,
    task: Task | str | os.PathLike[str] | None = None,
    scorer: str | Scorer | Any = DEFAULT_SCORER,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    search: str = "blocks",
    seed: int = 0,
    columns: Sequence[str] | None = None,
    encoding: str | None = None,
    skip_bad: bool = False,
    rates: Mapping[str, float | Sequence[float]] | None = None,
    known: Mapping[Any, str] | Sequence[str | None] | str | os.PathLike[str] | None = None,
    start: str | os.PathLike[str] | None = None,
    api_key: str | None = None,
    scorer_model: str | None = None,
    engine: str = "vllm",
    wait_s: float | None = None,
    experiment: str | None = None,
    allow_code: bool = False,
    track: str | None = None,
    max_tokens: int | None = None,
    max_minutes: float | None = None,
    progress: bool | None = None,
    **settings: Any,
) -> LabelResult:
    """`label` for code with an event loop: takes the same parameters, and does not block.

    A client that is passed as `scorer` is used in the caller's event loop. Raises the errors of `label`. If the task is
    cancelled, the folder's journal holds the model's answers so far.

    Examples:
        >>> import asyncio
        >>> import icm_annealer as icm
        >>> async def main():
        ...     words = ["red", "blue", "rose", "navy"]
        ...     return await icm.anneal(words, template="{word}:", labels=["warm", "cold"], scorer="fake:")
        >>> len(asyncio.run(main()).labels)
        4
    """
    if resume and out is None:
        raise RequestError("resume=True needs out=, the folder of the run to continue")
    target = Target.parse(track) if track else None
    chosen = settings_of({"search": search, "seed": seed, **settings})
    found, source = task_of(task, template, labels, allow_code=allow_code)
    if rows is None and source is None:
        raise RequestError("rows are missing: pass them, or the path of a file")
    index = index_of(rows)
    how = way_to_read(columns or (), encoding, skip_bad)
    loaded = await asyncio.to_thread(load_rows, source if rows is None else rows, found, how)
    if rates is not None:
        found = with_rates(found, rates)
    if known is not None:
        loaded = with_known_labels(loaded, found, known)
    started = None
    if start is not None:
        started, loaded = start_from(start, loaded, found, out)
    opening = Opening(lambda: api_key, scorer_model, engine, wait_s)
    open_scorer = opener(scorer, opening)
    folder = Path(tempfile.mkdtemp(prefix=TEMPORARY) if out is None else out)
    job = LabelJob(
        found,
        loaded,
        loaded.examples,
        chosen,
        open_scorer,
        RunDir(folder),
        resume,
        overwrite,
        experiment,
        started,
        Budget(max_tokens, max_minutes),
    )
    shown = watch(progress, found.name, found.label_names)
    is_kept = False
    if job.excess:
        shown.note(f"warning: {job.excess}")
    try:
        job.prepare()
        async with tracked_in_loop(job.folder, target, lambda text: shown.note(f"note: {text}")):
            result = await job.run(shown)
        is_kept = True
    except asyncio.CancelledError:
        is_kept = (folder / JOURNAL).exists()
        if is_kept:
            shown.note(f"stopped; what was answered is saved. Continue with: out={str(folder)!r}, resume=True")
        raise
    finally:
        if out is None and not is_kept:
            shutil.rmtree(folder, ignore_errors=True)
    if out is None:
        weakref.finalize(result, shutil.rmtree, folder, ignore_errors=True)
    result.index = index
    return result


def _warn(result: LabelResult) -> None:
    for alarm in result.alarms:
        if alarm.level == "warning":
            warnings.warn(alarm.line, stacklevel=3)


def opener(scorer: Any, opening: Opening) -> OpenScorer:
    """What opens `scorer`: one by its name, or a client, which is left open. Raises RequestError."""
    if isinstance(scorer, str):
        named = find_scorer(scorer, opening)
        named.check()
        return named.open
    if not all(callable(getattr(scorer, name, None)) for name in ("score", "count_tokens", "model")):
        raise RequestError(f"scorer= is {type(scorer).__name__}: a scorer's name or a client is needed")
    if opening.read_key() is not None or opening.model is not None:
        raise RequestError("api_key= and scorer_model= are for a scorer's name; a client has its own")
    return lambda *_: contextlib.nullcontext(awaitable(scorer))
