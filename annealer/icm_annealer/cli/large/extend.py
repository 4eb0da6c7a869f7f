"""`icm extend`. A thin caller."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from icm_annealer.api.job import alone
from icm_annealer.cli.shared.bounds import MAX_AMOUNT, MAX_COUNT
from icm_annealer.cli.shared.options import (
    AllowCodeOption,
    ColumnsOption,
    EncodingOption,
    EngineOption,
    KeyOption,
    RatesOption,
    RowsOption,
    ScorerModelOption,
    ScorerOption,
    SkipBadOption,
    WaitOption,
    finite,
    interruptible,
    named_scorer,
    read_as,
)
from icm_annealer.cli.shared.work_options import (
    ExperimentOption,
    JsonOption,
    OverwriteOption,
    QuietOption,
    ResumeOption,
    SeedOption,
    out_file,
    shots_option,
)
from icm_annealer.console.output import Output
from icm_annealer.console.progress import RunProgress
from icm_annealer.console.row_throughput import Throughput
from icm_annealer.data.rates import read_rates
from icm_annealer.data.task import with_rates
from icm_annealer.extending.chunks import Source
from icm_annealer.extending.core import Core
from icm_annealer.extending.extend import Progress
from icm_annealer.extending.jobs.job import CHECKED_ROWS, MANY_ROWS, ExtendJob
from icm_annealer.extending.jobs.modes import MODES, extend_settings, find_mode
from icm_annealer.extending.journal import REPORT, SKIPPED, UNLIKE
from icm_annealer.extending.settings import MAX_CONTEXTS, ExtendSettings
from icm_annealer.extending.survey import check_source
from icm_annealer.runs.schema.extension import ExtensionMetrics
from icm_annealer.scorers.kind import DEFAULT_ENGINE
from icm_annealer.scorers.registry import DEFAULT_SCORER
from icm_client import RequestError
from icm_client.text.counts import counted

DEFAULTS = ExtendSettings()
ContextsOption = Annotated[
    int | None,
    typer.Option(
        "--contexts",
        metavar="N",
        min=1,
        max=MAX_CONTEXTS,
        help="How many contexts are drawn from the core.",
        show_default=str(DEFAULTS.contexts),
    ),
]
CoreShotsOption = Annotated[int | None, shots_option(str(DEFAULTS.shots))]
ReadsOption = Annotated[
    float | None,
    typer.Option(
        "--reads",
        metavar="R",
        min=1.0,
        max=MAX_AMOUNT,
        callback=finite,
        help="Reads a row, on average: every row is read behind one context, the least clear ones behind all.",
        show_default=str(DEFAULTS.reads),
    ),
]


CheckOption = Annotated[
    int | None,
    typer.Option(
        "--check",
        metavar="N",
        min=0,
        max=MAX_COUNT,
        help="Label N random rows by a search of their own, too, and compare.",
        show_default=f"{CHECKED_ROWS} of {MANY_ROWS:,} rows or more, else none",
    ),
]


def extend(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run, the core.")],
    data: RowsOption,
    out: Annotated[Path, out_file("the labels: .jsonl, .csv or .parquet; beside it lies OUT.extension, a folder")],
    by: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Label by a model of `icm train sft` that was tuned on the core, without shots in front of rows.",
            show_default="shots of the core in front of every row",
        ),
    ] = None,
    mode: Annotated[
        str,
        typer.Option(
            metavar="|".join(MODES),
            help="Label rows " + "; ".join(f"{name}: {mode.help}" for name, mode in MODES.items()) + ".",
        ),
    ] = DEFAULTS.mode,
    contexts: ContextsOption = None,
    shots: CoreShotsOption = None,
    reads: ReadsOption = None,
    sample: Annotated[
        int | None,
        typer.Option(
            min=16, max=100_000, help="The most rows that calibrate the scores.", show_default=str(DEFAULTS.sample)
        ),
    ] = None,
    check: CheckOption = None,
    seed: SeedOption = DEFAULTS.seed,
    rates: RatesOption = None,
    columns: ColumnsOption = None,
    encoding: EncodingOption = None,
    skip_bad: SkipBadOption = False,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    experiment: ExperimentOption = None,
    scorer: ScorerOption = DEFAULT_SCORER,
    engine: EngineOption = DEFAULT_ENGINE,
    scorer_model: ScorerModelOption = None,
    api_key_file: KeyOption = None,
    wait: WaitOption = None,
    allow_code: AllowCodeOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Label any number of further rows by a finished run, its labelled core: about one shot a row.

    Shots of the core stand in front of every row. Rows of one group have to follow each other. DATA is read twice, so
    that it cannot be a pipe.

    Example: icm extend runs/first --data all.parquet --out labels.parquet
    """
    output = Output(quiet=quiet, as_json=as_json)
    core = Core.read(run, allow_code=allow_code)
    if rates:
        core = core.with_task(with_rates(core.task, read_rates(rates)))
    if by is not None and mode != DEFAULTS.mode:
        raise RequestError("--by and --mode exclude each other: both name what labels rows")
    given = {"contexts": contexts, "shots": shots, "reads": reads, "sample": sample}
    found_mode, settings = find_mode(mode), extend_settings(mode, seed, given, is_tuned=by is not None)
    source = Source(data, core.task, read_as(columns, encoding, skip_bad))
    job = ExtendJob(core, source, out, settings, resume, overwrite, check, experiment)
    if by is not None and check:
        raise RequestError("--check needs a scorer, and --by asks none: leave out one of them")
    named = named_scorer(scorer, engine, wait, api_key_file, scorer_model) if by is None else None
    check_source(source)
    job.prepare()

    async def work() -> ExtensionMetrics:
        with RunProgress(output.aside, f"extend: {core.name}", core.task.label_names) as progress:
            shown = Throughput(progress)
            callbacks = Progress(progress.status, shown.expect, shown.rows)
            if named is None:
                from icm_trainer.cli.judged import labelled_by

                assert by is not None
                return await job.run(labelled_by(by, core.task, progress.note), None, callbacks)
            async with named.open(progress.status, progress.note) as client:
                behind = await found_mode.open(client, core, settings, job.counted_as)
                return await job.run(behind, client, callbacks)

    with alone(job.folder):
        metrics: ExtensionMetrics = interruptible(work(), output, "the same command with --resume")
    print_metrics(output, job, metrics)
    output.json({"labels": job.out, "folder": job.folder.path, **metrics.model_dump(exclude={"format"})})


def print_metrics(output: Output, job: ExtendJob, metrics: ExtensionMetrics) -> None:
    """The end of `icm extend`."""
    folder = job.folder.path
    output.say(
        f"{counted(metrics.num_rows, 'row')} labelled; {counted(metrics.computed_tokens, 'token')} computed "
        f"({metrics.computed_tokens / metrics.num_rows:.1f} a row). Labels: {job.out}"
    )
    output.say("Label rates: " + ", ".join(f"{name} {share:.1%}" for name, share in metrics.label_rates.items()))
    if metrics.shared is not None:
        one = metrics.shared
        output.say(
            f"{counted(one.num_searches, 'search', 'searches')} labelled the same {one.num} examples of the core, too, "
            f"and got the core's labels at {one.with_core:.3f}"
            + (f", each other's at {one.with_each_other:.3f}" if one.num_searches > 1 else "")
        )
    whose = "other examples get its labels behind its shots" if metrics.num_contexts else "examples get its labels"
    if not math.isnan(metrics.core_agreement.value):
        output.say(f"The core's {whose}: {metrics.core_agreement}")
    if metrics.known_agreement is not None:
        output.say(f"{metrics.num_known:,} rows with a known label would get it: {metrics.known_agreement}")
    if metrics.check is not None:
        output.say(f"A search over {metrics.check.num} random rows agrees: {metrics.check.agreement}")
    if metrics.num_skipped:
        output.say(f"The {counted(metrics.num_skipped, 'bad row')} skipped: {folder / SKIPPED}")
    if metrics.num_unlike + metrics.num_unclear:
        output.say(
            f"{counted(metrics.num_unlike, 'row')} unlike the core, {metrics.num_unclear:,} unclear: {folder / UNLIKE}"
        )
    for alarm in metrics.alarms:
        output.alarm(alarm.line, is_warning=alarm.level == "warning")
    output.say(f"Page: {folder / REPORT}")
