"""`icm run`. A thin caller."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from icm_annealer.api.inputs import load_data, settings_of, start_from
from icm_annealer.api.job import LabelJob
from icm_annealer.api.label_result import LabelResult
from icm_annealer.cli.shared.dry_run import DryRun, DryRunOption
from icm_annealer.cli.shared.options import (
    AllowCodeOption,
    ColumnsOption,
    DataOption,
    EncodingOption,
    EngineOption,
    KeyOption,
    KnownOption,
    MaxMinutesOption,
    MaxTokensOption,
    RatesOption,
    SameKeyOption,
    SameScorerOption,
    ScorerModelOption,
    ScorerOption,
    SkipBadOption,
    TaskOption,
    WaitOption,
    interruptible,
    named_scorer,
    read_as,
    scorer_of_run,
    with_given,
)
from icm_annealer.cli.shared.price import HourPriceOption, Price, PriceOption
from icm_annealer.cli.shared.work_options import (
    ExperimentOption,
    FirstOption,
    JsonOption,
    OverwriteOption,
    QuietOption,
    ResumeOption,
    SeedOption,
    out_folder,
)
from icm_annealer.console.output import Output
from icm_annealer.console.progress import RunProgress
from icm_annealer.data.examples import Loaded, first_of
from icm_annealer.data.label_columns import label_column_text, label_columns
from icm_annealer.data.task import allowed_task
from icm_annealer.labelling.budget import Budget
from icm_annealer.reporting.certainty_plots import LIMITS
from icm_annealer.runs.directory import LABELS, METRICS, SKIPPED, STARTED, RunDir
from icm_annealer.runs.record import RunRecord
from icm_annealer.runs.schema.base import read_file
from icm_annealer.runs.schema.metrics import RunMetrics
from icm_annealer.runs.schema.state import StartState
from icm_annealer.scorers.kind import DEFAULT_ENGINE
from icm_annealer.scorers.registry import DEFAULT_SCORER
from icm_annealer.searches.registry import DEFAULT, passes_help, searches_help
from icm_annealer.searches.settings import Settings, options_for
from icm_annealer.tracking.beside import tracked
from icm_annealer.tracking.registry import tracker_usages
from icm_annealer.tracking.target import Target
from icm_client import RequestError
from icm_client.http.address import shown
from icm_client.text.counts import counted

WARNED = 3
"""The exit code of a run that ended with a warning, with `--strict`."""
StrictOption = Annotated[
    bool, typer.Option("--strict", help=f"Exit with code {WARNED} if the run ends with a warning.")
]


def run(
    task: TaskOption,
    out: Annotated[Path, out_folder("the run: its journal, labels and metrics")],
    scorer: ScorerOption = DEFAULT_SCORER,
    data: DataOption = None,
    columns: ColumnsOption = None,
    encoding: EncodingOption = None,
    skip_bad: SkipBadOption = False,
    first: FirstOption = None,
    search: Annotated[
        str, typer.Option(metavar="NAME", help=f"How labels are searched for. {searches_help()}.")
    ] = DEFAULT.name,
    plan: Annotated[
        str | None,
        typer.Option(
            help="How labels are weighed: tree (exact), folds=k (cheaper), fixed (as published), chain (the "
            "chain rule, another measure)."
        ),
    ] = None,
    measure: Annotated[
        Literal["information", "logprob", "sum", "margin"] | None, typer.Option(help="What U measures.")
    ] = None,
    seed: SeedOption = 0,
    rates: RatesOption = None,
    known: KnownOption = None,
    start: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="RUN",
            help="Start from the labels of this finished run, of which those that people decided are known; examples "
            "that it does not hold start without a label.",
        ),
    ] = None,
    chains: Annotated[
        int | None, typer.Option(min=1, max=64, help="The number of chains, for searches that have several.")
    ] = None,
    passes: Annotated[
        int | None,
        typer.Option(min=1, max=10_000, help=f"The most {passes_help()}."),
    ] = None,
    max_tokens: MaxTokensOption = None,
    max_minutes: MaxMinutesOption = None,
    dry_run: DryRunOption = False,
    price: PriceOption = None,
    price_per_hour: HourPriceOption = None,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    strict: StrictOption = False,
    experiment: ExperimentOption = None,
    wait: WaitOption = None,
    adapter: Annotated[
        str, typer.Option(help="An adapter that the scorer serves (`icm adapter list`); base is the model itself.")
    ] = "base",
    scorer_model: ScorerModelOption = None,
    api_key_file: KeyOption = None,
    engine: EngineOption = DEFAULT_ENGINE,
    track: Annotated[
        str | None,
        typer.Option(help=f"Also show the run in {' or '.join(tracker_usages())}; it does not depend on them."),
    ] = None,
    allow_code: AllowCodeOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Label a dataset: search for the most coherent labels and write them to OUT/labels.jsonl.

    --first also labels the other members of a group that the first N rows begin.

    Example: icm run --task my_task.yaml --data rows.jsonl --scorer http://gpu-box:8000 --out runs/first

    Example: icm run --task my_task.yaml --data rows.jsonl --from runs/first --out runs/second
    """
    output = Output(quiet=quiet, as_json=as_json)
    how = read_as(columns, encoding, skip_bad)
    loaded_task, loaded = load_data(task, data, allow_code=allow_code, read_as=how)
    own_task, loaded = with_given(loaded_task.task, loaded, rates, known)
    rows = loaded.examples if first is None else first_of(loaded.examples, first)
    settings = Settings(
        search=search,
        plan=plan,
        measure=measure,
        seed=seed,
        options=options_for(search, chains=chains, passes=passes),
        model=adapter,
    )
    settings.plan_kind()  # a wrong plan, name or tracker is an error before anything is started
    for name in label_columns(rows, own_task):
        output.note(label_column_text(name))
    target = Target.parse(track) if track else None
    named = named_scorer(scorer, engine, wait, api_key_file, scorer_model)
    folder = RunDir(out)
    started = None
    if start:
        started, loaded = start_from(start, loaded, own_task, out)
    budget = Budget(max_tokens, max_minutes)
    job = LabelJob(own_task, loaded, rows, settings, named.open, folder, resume, overwrite, experiment, started, budget)
    if dry_run:
        job.check()
        DryRun(Price(price, price_per_hour), max_minutes).show(output, "dry run", named, job.rehearse)
        return
    job.prepare()
    key_file = str(api_key_file.path.absolute()) if api_key_file else None
    address = scorer if shown(scorer) == scorer else None
    state = StartState(
        scorer=address,
        engine=engine,
        scorer_model=scorer_model,
        api_key_file=key_file,
        experiment=job.counted_as,
        track=track,
        task=_lasting(task),
        data=None if any(how) else _lasting(data),
    )
    folder.write(STARTED, state)
    _finish(output, job, target, Price(price, price_per_hour), strict=strict)


def _lasting(name: str | None) -> str | None:
    """The path of a file that a later command can read again; None for pipes, addresses and names."""
    return str(Path(name).absolute()) if name is not None and Path(name).is_file() else None


def resume_run(
    run: Annotated[Path, typer.Argument(help="The folder of a run that was stopped.")],
    scorer: SameScorerOption = None,
    max_tokens: MaxTokensOption = None,
    max_minutes: MaxMinutesOption = None,
    strict: StrictOption = False,
    wait: WaitOption = None,
    api_key_file: SameKeyOption = None,
    price: PriceOption = None,
    price_per_hour: HourPriceOption = None,
    allow_code: AllowCodeOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Continue a run that was interrupted, or stopped at its budget. It needs nothing but its folder.

    Task, examples, settings and scorer are those that it began with. Without --max-tokens and --max-minutes it goes on
    to its end.

    Example: icm resume runs/first
    """
    output = Output(quiet=quiet, as_json=as_json)
    record = RunRecord.read(run)
    task = allowed_task(record.task, str(run), allow_code=allow_code)
    examples = record.examples()
    named = scorer_of_run(run, scorer, DEFAULT_ENGINE, wait, api_key_file, None)
    if named is None:
        raise RequestError(f"{run} does not say which scorer it used: name it with --scorer")
    state = read_file(run / STARTED, StartState)
    job = LabelJob(
        task,
        Loaded(examples, {}, known=record.header.known or {}),
        examples,
        settings_of(record.header.settings.model_dump()),
        named.open,
        RunDir(run),
        resume=True,
        experiment=state.experiment if state else None,
        start=record.header.start,
        budget=Budget(max_tokens, max_minutes),
    )
    job.prepare()
    target = Target.parse(state.track) if state and state.track else None
    _finish(output, job, target, Price(price, price_per_hour), strict=strict)


def _finish(output: Output, job: LabelJob, target: Target | None, price: Price, *, strict: bool) -> None:
    """Runs the job and prints its result."""
    if job.excess:
        output.warn(job.excess)
    progress = RunProgress(output.aside, job.task.name, job.task.label_names)
    with tracked(job.folder, target, output.note):
        result: LabelResult = interruptible(job.run(progress), output, f"icm resume {job.folder.path}")
        _print_result(output, result, job.loaded, len(job.examples), price)
    if strict and any(alarm.level == "warning" for alarm in result.alarms):
        raise typer.Exit(WARNED)


def _print_result(output: Output, result: LabelResult, loaded: Loaded, num_labelled: int, price: Price) -> None:
    labels, left_out = result.folder / LABELS, len(loaded.examples) - num_labelled
    output.say(
        f"U {result.u:+.3f} ± {result.u_se:.3f} {result.u_unit}; {counted(result.num_passes, 'pass')}, "
        f"{counted(result.computed_tokens, 'token')} computed. Labels: {labels}"
    )
    output.say(
        f"{loaded.counts_text}, {num_labelled:,} labelled"
        + (f" ({left_out:,} left out by --first)." if left_out else ".")
    )
    skipped = result.folder / SKIPPED if loaded.skipped else None
    if skipped:
        output.say(f"The {counted(len(loaded.skipped), 'bad row')} skipped: {skipped}")
    num_uncertain = int((result.certainty < LIMITS[-1]).sum())
    if num_uncertain:
        uncertain = counted(num_uncertain, "label is uncertain", "labels are uncertain")
        output.say(f"{uncertain} (certainty below {LIMITS[-1]:g}).")
    output.say(f"Verdict: {result.verdict}", wraps=True)
    metrics = read_file(result.folder / METRICS, RunMetrics)
    assert metrics is not None  # the run is finished
    tokens, seconds = metrics.computed_tokens, metrics.search_seconds
    for line in price.lines(tokens, metrics.prompt_tokens, seconds):
        output.say(line)
    output.json(
        {
            "folder": result.folder,
            "labels": labels,
            "skipped": skipped,
            "had_ended": result.had_ended,
            "num_uncertain": num_uncertain,
            **metrics.model_dump(exclude={"format"}),
            **price.fields(tokens, seconds),
        }
    )
    if result.had_ended and not result.needed:
        output.note(f"this run had already ended; {labels} was not changed")
    if result.needed:
        output.note(f"the search goes on with a budget of about {result.needed} or more, or with none")
    for alarm in result.alarms:
        output.alarm(alarm.line, is_warning=alarm.level == "warning")
