"""`icm baselines`. A thin caller."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from icm_annealer.api.inputs import load_data
from icm_annealer.benchmarks.baselines.comparison import BaselinesComparison, compare, rehearse
from icm_annealer.benchmarks.baselines.methods import METHODS, Offer, chosen
from icm_annealer.benchmarks.baselines.page import baseline_plots, render_page
from icm_annealer.benchmarks.baselines.plan import BaselinesPlan, read_prefix
from icm_annealer.benchmarks.baselines.tables import print_methods
from icm_annealer.benchmarks.case import TaskData
from icm_annealer.benchmarks.results_file import as_json as as_figures
from icm_annealer.cli.shared.bounds import MAX_COUNT
from icm_annealer.cli.shared.dry_run import DryRun, DryRunOption
from icm_annealer.cli.shared.options import (
    AllowCodeOption,
    ColumnsOption,
    DataOption,
    EncodingOption,
    EngineOption,
    FiguresOption,
    KeyOption,
    KnownOption,
    MaxMinutesOption,
    MaxTokensOption,
    RatesOption,
    ScorerModelOption,
    ScorerOption,
    SkipBadOption,
    TaskOption,
    WaitOption,
    interruptible,
    named_scorer,
    read_as,
    with_given,
)
from icm_annealer.cli.shared.price import HourPriceOption, Price, PriceOption
from icm_annealer.cli.shared.work_options import (
    ExamplesOption,
    JsonOption,
    OverwriteOption,
    QuietOption,
    ResumeOption,
    SeedOption,
    SeedsOption,
    TestSizeOption,
    methods_option,
    out_folder,
)
from icm_annealer.console.output import Output
from icm_annealer.console.progress import RunProgress
from icm_annealer.plots.drawing import saved_plots
from icm_annealer.runs.atomic_write import check_writable, make_folder
from icm_annealer.runs.directory import SCORER_LOG, RunDir
from icm_annealer.scorers.kind import DEFAULT_ENGINE
from icm_annealer.scorers.registry import DEFAULT_SCORER
from icm_annealer.scoring.limited_scorer import LimitedScorer
from icm_client import RequestError

FIGURES, PAGE = "baselines.json", "baselines.html"
USUAL = BaselinesPlan


def baselines(
    task: TaskOption,
    out: Annotated[Path | None, out_folder(f"{FIGURES} and {PAGE}", "runs/baselines/TASK")] = None,
    scorer: ScorerOption = DEFAULT_SCORER,
    data: DataOption = None,
    columns: ColumnsOption = None,
    encoding: EncodingOption = None,
    skip_bad: SkipBadOption = False,
    rates: RatesOption = None,
    known: KnownOption = None,
    examples: ExamplesOption = USUAL.num_examples,
    test_size: TestSizeOption = USUAL.num_test,
    seeds: SeedsOption = USUAL.num_seeds,
    seed: SeedOption = USUAL.first_seed,
    methods: Annotated[str | None, methods_option(", ".join(METHODS), "all that need nothing else")] = None,
    known_from_gold: Annotated[
        int,
        typer.Option(
            "--known-from-gold",
            metavar="N",
            min=0,
            max=MAX_COUNT,
            help="Give every search the gold labels of N random examples as known labels, as if a person had labelled "
            "them.",
        ),
    ] = 0,
    human: Annotated[
        str | None, typer.Option("--human", metavar="FIELD", help="The field of the data that holds human labels.")
    ] = None,
    prefix_file: Annotated[
        Path | None, typer.Option(help="Also try zero-shot after the text in this file, such as a dialogue.")
    ] = None,
    to_the_end: Annotated[
        bool,
        typer.Option("--to-the-end", help="Let every search finish instead of stopping at ICM's tokens."),
    ] = False,
    figures: FiguresOption = None,
    max_tokens: MaxTokensOption = None,
    max_minutes: MaxMinutesOption = None,
    dry_run: DryRunOption = False,
    price: PriceOption = None,
    price_per_hour: HourPriceOption = None,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    engine: EngineOption = DEFAULT_ENGINE,
    scorer_model: ScorerModelOption = None,
    api_key_file: KeyOption = None,
    wait: WaitOption = None,
    allow_code: AllowCodeOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Compare ICM with zero-shot, random, bootstrapped, ... and gold labels, on a task that has gold labels.

    Reports each method's tokens, label accuracy, and accuracy on unseen examples, over seeds, with intervals.

    Example: icm baselines --task living --seeds 5 --figures figures
    """
    output = Output(quiet=quiet, as_json=as_json)
    loaded_task, loaded = load_data(task, data, allow_code=allow_code, read_as=read_as(columns, encoding, skip_bad))
    if not loaded.gold:
        raise RequestError(
            f"baselines are compared by gold labels, and {task!r} has none: name their field in the task"
        )
    own_task, loaded = with_given(loaded_task.task, loaded, rates, known, examples)
    has_known = bool(loaded.known) or known_from_gold > 0
    offer = Offer(own_task, read_prefix(prefix_file) if prefix_file else "", human, has_known)
    plan = BaselinesPlan(
        offer,
        chosen(methods.split(",") if methods else [], offer),
        examples,
        test_size,
        seeds,
        seed,
        known_from_gold,
        not to_the_end,
    )
    named = named_scorer(scorer, engine, wait, api_key_file, scorer_model)
    case, prices = TaskData(own_task, loaded), Price(price, price_per_hour)
    if dry_run:
        dry = DryRun(prices, max_minutes)
        dry.show(output, "dry run", named, lambda scorer: rehearse(scorer, case, plan), num_times=seeds)
        return
    folder = RunDir(out or Path("runs/baselines") / loaded_task.task.name)
    _prepare(folder, resume=resume, overwrite=overwrite)
    if figures:
        make_folder(figures)

    async def work() -> tuple[BaselinesComparison, LimitedScorer]:
        with RunProgress(output.aside, f"baselines: {loaded_task.task.name}", []) as progress:
            async with named.open(progress.status, progress.note, folder / SCORER_LOG) as client:
                limited = LimitedScorer(client, max_tokens, None if max_minutes is None else 60 * max_minutes)
                return await compare(folder / FIGURES, limited, case, plan, progress, resume=resume), limited

    (table, found), spent = interruptible(work(), output, f"icm baselines --task {task} ... --resume")
    chance = 1 / len(loaded_task.task.labels)
    folder.write_text(PAGE, render_page(table, found, chance))
    print_methods(output.text, table, found)
    output.say(f"{loaded.counts_text}.")
    for line in prices.lines(spent.usage.computed_tokens, spent.usage.prompt_tokens, spent.seconds):
        output.say(line)
    output.say(f"Written to {folder / FIGURES} and {folder / PAGE}")
    if figures:
        output.say(saved_plots(baseline_plots(found, chance), figures))
    output.json(
        {
            "file": folder / FIGURES,
            "page": folder / PAGE,
            **as_figures(table),
            **prices.fields(spent.usage.computed_tokens, spent.seconds),
        }
    )


def _prepare(folder: RunDir, *, resume: bool, overwrite: bool) -> None:
    for name in (FIGURES, PAGE):
        check_writable(folder / name)
    if (folder / FIGURES).exists() and not (resume or overwrite):
        raise RequestError(
            f"{folder.path} already holds baselines; use --resume to continue, --overwrite to replace them, or another "
            "--out"
        )
