"""`icm extend`. A thin caller."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from icm_annealer.cli.shared.options import (
    AllowCodeOption,
    ColumnsOption,
    EncodingOption,
    EngineOption,
    KeyOption,
    RatesOption,
    ScorerModelOption,
    ScorerOption,
    SkipBadOption,
    WaitOption,
    interruptible,
    named_scorer,
    read_as,
)
from icm_annealer.console.progress import RunProgress
from icm_annealer.console.terminal import Terminal
from icm_annealer.data.rates import read_rates
from icm_annealer.data.task import with_rates
from icm_annealer.extending.chunks import Source
from icm_annealer.extending.core import Core
from icm_annealer.extending.extend import Progress, by_contexts
from icm_annealer.extending.job import CHECKED_ROWS, MANY_ROWS, ExtendJob
from icm_annealer.extending.journal import REPORT, SKIPPED, UNLIKE
from icm_annealer.extending.row_throughput import Throughput
from icm_annealer.extending.settings import ExtendSettings
from icm_annealer.runs.schema.extension import ExtensionMetrics
from icm_annealer.scorers.registry import DEFAULT_SCORER
from icm_client import RequestError
from icm_client.text.counts import counted

DEFAULTS = ExtendSettings()


def extend(
    run: Annotated[Path, typer.Argument(help="The folder of a finished run, the core.")],
    data: Annotated[
        str,
        typer.Option(
            "--data", help="The rows to label: anything that `icm run --data` reads, except pipes; read twice."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", help="The file of labels: .jsonl, .csv or .parquet. Beside it lies OUT.extension, a folder."
        ),
    ],
    by: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Label by a model of `icm train sft` that was tuned on the core, without shots in front of rows.",
            show_default="shots of the core in front of every row",
        ),
    ] = None,
    contexts: Annotated[int, typer.Option(help="How many contexts are drawn from the core.")] = DEFAULTS.contexts,
    shots: Annotated[int, typer.Option(help="Shots of a context.")] = DEFAULTS.shots,
    reads: Annotated[
        float,
        typer.Option(
            metavar="R",
            help="Reads a row, on average: every row is read behind one context, the least clear ones behind all.",
        ),
    ] = DEFAULTS.reads,
    sample: Annotated[int, typer.Option(help="The most rows that calibrate the scores.")] = DEFAULTS.sample,
    check: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            help="Label N random rows by a search of their own, too, and compare.",
            show_default=f"{CHECKED_ROWS} of {MANY_ROWS:,} rows or more, else none",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Determines everything random.")] = DEFAULTS.seed,
    rates: RatesOption = None,
    columns: ColumnsOption = None,
    encoding: EncodingOption = None,
    skip_bad: SkipBadOption = False,
    resume: Annotated[bool, typer.Option("--resume", help="Continue where a killed process ended.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Begin again, and replace OUT.")] = False,
    experiment: Annotated[str, typer.Option(help="The name under which the scorer counts this work.")] = "default",
    scorer: ScorerOption = DEFAULT_SCORER,
    engine: EngineOption = "vllm",
    scorer_model: ScorerModelOption = None,
    api_key_file: KeyOption = None,
    wait: WaitOption = None,
    allow_code: AllowCodeOption = False,
) -> None:
    """Label any number of further rows by a finished run, its labelled core: about one shot a row.

    Shots of the core stand in front of every row. Rows of one group have to follow each other.

    Example: icm extend runs/first --data all.parquet --out labels.parquet
    """
    console = Terminal()
    core = Core.read(run, allow_code=allow_code)
    if rates:
        core = core.with_task(with_rates(core.task, read_rates(rates)))
    settings = ExtendSettings(contexts, shots, reads, sample, seed)
    source = Source(data, core.task, read_as(columns, encoding, skip_bad))
    job = ExtendJob(core, source, out, settings, resume, overwrite, check, experiment)
    if by is not None and check:
        raise RequestError("--check needs a scorer, and --by asks none: leave out one of them")
    named = named_scorer(scorer, engine, wait, api_key_file, scorer_model) if by is None else None
    job.prepare()

    async def work() -> ExtensionMetrics:
        with RunProgress(console, f"extend: {core.name}", core.task.label_names) as progress:
            shown = Throughput(progress)
            callbacks = Progress(progress.status, shown.expect, shown.rows)
            if named is None:
                from icm_trainer.cli.judged import labelled_by

                assert by is not None
                return await job.run(labelled_by(by, core.task, progress.note), None, callbacks)
            async with named.open(progress.status, progress.note) as client:
                behind = await by_contexts(client, core, settings, experiment)
                return await job.run(behind, client, callbacks)

    metrics: ExtensionMetrics = interruptible(work(), console, "the same command with --resume")
    print_metrics(console, job, metrics)


def print_metrics(console: Terminal, job: ExtendJob, metrics: ExtensionMetrics) -> None:
    """The end of `icm extend`."""
    folder = job.folder.path
    console.say(
        f"{counted(metrics.num_rows, 'row')} labelled; {counted(metrics.computed_tokens, 'token')} computed "
        f"({metrics.computed_tokens / metrics.num_rows:.1f} a row). Labels: {job.out}"
    )
    console.say("Label rates: " + ", ".join(f"{name} {share:.1%}" for name, share in metrics.label_rates.items()))
    whose = "other examples get its labels behind its shots" if metrics.num_contexts else "examples get its labels"
    console.say(f"The core's {whose}: {metrics.core_agreement}")
    if metrics.check is not None:
        console.say(f"A search over {metrics.check.num} random rows agrees: {metrics.check.agreement}")
    if metrics.num_skipped:
        console.say(f"The {counted(metrics.num_skipped, 'bad row')} skipped: {folder / SKIPPED}")
    if metrics.num_unlike + metrics.num_unclear:
        console.say(
            f"{metrics.num_unlike:,} rows unlike the core and {metrics.num_unclear:,} unclear ones: {folder / UNLIKE}"
        )
    for alarm in metrics.alarms:
        console.say(f"{alarm.level} {alarm.code}: {alarm}", wraps=True)
    console.say(f"Page: {folder / REPORT}")
