"""`icm runs`, `icm report`, `icm eval`: what comes after a search. Thin callers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from icm_annealer.cli.shared.dry_run import DryRun, DryRunOption, HourPriceOption, JsonOption, PriceOption
from icm_annealer.cli.shared.options import (
    AllowCodeOption,
    ColumnsOption,
    EncodingOption,
    EngineOption,
    FiguresOption,
    KeyOption,
    MaxMinutesOption,
    MaxTokensOption,
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
from icm_annealer.evaluation.run_evaluation import EvaluationPlan, evaluate_run, labels_alone
from icm_annealer.evaluation.subject import run_subject
from icm_annealer.plots.drawing import saved_plots
from icm_annealer.reporting.evaluation_table import print_evaluation
from icm_annealer.reporting.report import is_report, render_report, report_plots
from icm_annealer.reporting.run_list import run_folders, runs_table
from icm_annealer.reporting.run_report import RunReport
from icm_annealer.runs.atomic_write import check_writable
from icm_annealer.runs.directory import EVALUATION, REPORT, RunDir
from icm_annealer.runs.schema.evaluation import Evaluation
from icm_annealer.scorers.registry import DEFAULT_SCORER
from icm_annealer.scoring.forecast import Rehearsed
from icm_annealer.scoring.limited_scorer import LimitedScorer
from icm_annealer.scoring.passes import Scorer
from icm_annealer.scoring.rehearsal import Rehearsal
from icm_client import RequestError

WIDE = 160
"""Columns of a table that is written to a file or a pipe."""


def runs(
    folder: Annotated[Path, typer.Argument(help="The folder to search for runs, at any depth.")] = Path("runs"),
) -> None:
    """List runs, the newest first: task, state, verdict, U, label rates, computed tokens.

    "failed" means that a run ended with a warning: its labels are probably not what you want (see `icm report`).
    """
    if not folder.is_dir():
        raise RequestError(f"{folder} is not a folder; name the one that holds your runs: icm runs FOLDER")
    console = Terminal()
    if not console.is_terminal:
        console = Terminal(width=WIDE)
    found = run_folders(folder)
    if not found:
        console.say(f"{folder} holds no run")
        return
    console.print(runs_table(folder, found))


def report(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="The folders of runs, or of demos with several seeds.")
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", help="The page.", show_default="report.html, in the run's folder if there is one"),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace any file, not only an earlier page.")] = False,
    figures: FiguresOption = None,
) -> None:
    """Write a page about one run, or about several side by side. The page loads nothing from elsewhere.

    Example: icm report runs/first runs/second --out compared.html
    """
    page = out or (runs[0] / REPORT if len(runs) == 1 else Path(REPORT))
    if page.is_dir():
        raise RequestError(f"{page} is a folder; name the page to write with --out")
    if page.exists() and not overwrite and not is_report(page):
        raise RequestError(f"{page} is not a page of this program; use --overwrite to replace it, or another --out")
    reports = [RunReport.read(folder) for folder in runs]
    RunDir(page.parent).write_text(page.name, render_report(reports))
    console = Terminal()
    console.say(str(page))
    if figures:
        console.say(saved_plots(report_plots(reports), figures))


def evaluate(
    run: Annotated[Path | None, typer.Argument(help="The folder of a finished run.", show_default=False)] = None,
    model: Annotated[
        Path | None,
        typer.Option(
            "--model",
            help="In place of a run: the folder of a model of `icm train sft`. It is compared with the model that it "
            "was made of behind the same labels, which by default is the --scorer.",
        ),
    ] = None,
    test: Annotated[
        str | None, typer.Option(help="Other examples with gold labels: a file, a folder of save_to_disk, or hf:...")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="The run's or model's own data with gold labels; tests on what was not labelled."),
    ] = None,
    columns: ColumnsOption = None,
    encoding: EncodingOption = None,
    skip_bad: SkipBadOption = False,
    task: Annotated[
        str | None, typer.Option(help="The task file, which names the gold field; not needed for built-in tasks.")
    ] = None,
    examples: Annotated[
        int | None, typer.Option(min=1, help="How many of the labelled examples to prompt with.", show_default="all")
    ] = None,
    test_size: Annotated[
        int, typer.Option(min=1, help="The largest number of test examples per seed.")
    ] = EvaluationPlan().num_test,
    seeds: Annotated[int, typer.Option(min=1, max=1000, help="How many random draws of examples and orders.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="The first seed.")] = 0,
    max_tokens: MaxTokensOption = None,
    max_minutes: MaxMinutesOption = None,
    dry_run: DryRunOption = False,
    price: PriceOption = None,
    price_per_hour: HourPriceOption = None,
    as_json: JsonOption = False,
    scorer: ScorerOption = DEFAULT_SCORER,
    engine: EngineOption = "vllm",
    scorer_model: ScorerModelOption = None,
    api_key_file: KeyOption = None,
    wait: WaitOption = None,
    allow_code: AllowCodeOption = False,
) -> None:
    """Prompt a model with a run's labels, and compare its answers on unseen examples with their gold labels.

    Writes accuracy, balanced accuracy, AUROC and calibration, with intervals, to RUN/eval.json, next to those of
    zero-shot. If the labelled examples have gold labels, it also reports theirs, the share of the gap recovered, and
    how many of the most certain labels are wrong.

    Example: icm eval runs/spam --task spam.yaml --data messages.csv

    Example: icm eval --model runs/spam-tuned --task spam.yaml --data messages.csv
    """
    console, how = Terminal(), read_as(columns, encoding, skip_bad)
    if model is not None and run is None:
        from icm_trainer.cli.judged import base_scorer, judged_model

        subject = judged_model(model, task, data, test, console.say, allow_code=allow_code, how=how)
        scorer = base_scorer(model) if scorer == DEFAULT_SCORER else scorer
    elif run is not None and model is None:
        subject = run_subject(run, task, data, test, allow_code=allow_code, how=how)
    else:
        raise RequestError("name either a run, or the folder of a tuned model with --model")
    check_writable(subject.folder / EVALUATION)
    held_out = subject.held_out
    if held_out is None:
        assert subject.found_by is not None
        if dry_run:
            raise RequestError(
                f"--dry-run: {subject.name} labelled all rows that have gold labels, so no scorer is asked and nothing "
                "is paid; --test names others to test on"
            )
        alone = labels_alone(subject.name, subject.shots, subject.task, subject.found_by)
        RunDir(subject.folder).write(EVALUATION, alone)
        print_evaluation(console, alone, subject.found_by)
        console.say(
            f"{subject.pool.counts_text}; the run labelled all that have gold labels. --test names others to test on."
        )
        console.say(f"Written to {subject.folder / EVALUATION}")
        return
    named = named_scorer(scorer, engine, wait, api_key_file, scorer_model)
    plan = EvaluationPlan(examples, test_size, seeds, seed)

    async def evaluated(client: Scorer, plan: EvaluationPlan, progress: RunProgress) -> Evaluation:
        return await evaluate_run(
            subject.name, subject.shots, held_out, subject.task, client, plan, progress, subject.tuned
        )

    if dry_run:

        async def rehearse(rehearsal: Rehearsal) -> Rehearsed:
            others = replace(plan, first_seed=seed + seeds)  # what is measured is in no cache for the evaluation
            await evaluated(rehearsal, others, RunProgress(Terminal(quiet=True), "", []))
            return Rehearsed()

        dry = DryRun(price, price_per_hour, as_json, max_minutes)
        dry.show("dry run", named, rehearse, varies=False)
        return

    async def work() -> Evaluation:
        with RunProgress(console, f"eval: {subject.name}", subject.task.label_names) as progress:
            async with named.open(progress.status, progress.note) as client:
                limited = LimitedScorer(client, max_tokens, None if max_minutes is None else 60 * max_minutes)
                return await evaluated(limited, plan, progress)

    evaluation: Evaluation = interruptible(work(), console)
    RunDir(subject.folder).write(EVALUATION, evaluation)
    print_evaluation(console, evaluation, subject.found_by)
    if subject.note:
        console.say(f"note: {subject.note}")
    console.say(f"{subject.pool.counts_text}, {len(held_out.examples):,} of them to test on.")
    console.say(f"Written to {subject.folder / EVALUATION}")
