"""`icm runs`, `icm report`, `icm eval`: what comes after a search. Thin callers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from icm_annealer.cli.shared.dry_run import DryRun, DryRunOption
from icm_annealer.cli.shared.options import (
    AllowCodeOption,
    ColumnsOption,
    EncodingOption,
    EngineOption,
    FiguresOption,
    KeyFile,
    KeyOption,
    MaxMinutesOption,
    MaxTokensOption,
    RunDataOption,
    RunScorerOption,
    RunTaskOption,
    ScorerModelOption,
    SkipBadOption,
    WaitOption,
    interruptible,
    named_scorer,
    read_as,
    scorer_of_run,
)
from icm_annealer.cli.shared.price import HourPriceOption, Price, PriceOption
from icm_annealer.cli.shared.work_options import (
    JsonOption,
    OverwriteOption,
    QuietOption,
    SeedOption,
    SeedsOption,
    ShotsOption,
    TestSizeOption,
    out_file,
)
from icm_annealer.console.output import Output, silent
from icm_annealer.console.progress import RunProgress
from icm_annealer.evaluation.run_evaluation import EvaluationPlan, evaluate_run, labels_alone
from icm_annealer.evaluation.subject import Subject, run_subject
from icm_annealer.plots.drawing import saved_plots
from icm_annealer.reporting.evaluation_table import print_evaluation
from icm_annealer.reporting.report import is_report, render_report, report_plots
from icm_annealer.reporting.run_list import listed_runs, run_folders, runs_table
from icm_annealer.reporting.run_report import RunReport
from icm_annealer.runs.atomic_write import check_writable
from icm_annealer.runs.directory import EVALUATION, REPORT, RunDir, check_result
from icm_annealer.runs.schema.evaluation import Evaluation
from icm_annealer.scorers.kind import DEFAULT_ENGINE
from icm_annealer.scorers.registry import DEFAULT_SCORER, NamedScorer
from icm_annealer.scoring.forecast import Rehearsed
from icm_annealer.scoring.limited_scorer import LimitedScorer
from icm_annealer.scoring.passes import Scorer
from icm_annealer.scoring.rehearsal import Rehearsal
from icm_client import RequestError
from icm_client.http.address import shown


def runs(
    folder: Annotated[Path, typer.Argument(help="The folder to search for runs, at any depth.")] = Path("runs"),
    as_json: JsonOption = False,
) -> None:
    """List runs, the newest first: task, state, verdict, U, label rates, computed tokens.

    "warned" means that a run ended with a warning, whose code follows: its labels are probably not what you want (see
    `icm report`).
    """
    if not folder.is_dir():
        raise RequestError(f"{folder} is not a folder; name the one that holds your runs: icm runs FOLDER")
    output = Output(as_json=as_json)
    found = listed_runs(folder, run_folders(folder))
    if found:
        output.show(runs_table(found))
    else:
        output.note(f"{folder} holds no run")
    output.json({"runs": found})


def report(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="The folders of runs, or of demos with several seeds.")
    ],
    out: Annotated[Path | None, out_file("the page", f"{REPORT}, in the run's folder if there is one")] = None,
    overwrite: OverwriteOption = False,
    figures: FiguresOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write a page about one run, or about several side by side. The page loads nothing from elsewhere.

    An earlier page is replaced without --overwrite.

    Example: icm report runs/first runs/second --out compared.html
    """
    page = out or (runs[0] / REPORT if len(runs) == 1 else Path(REPORT))
    if page.is_dir():
        raise RequestError(f"{page} is a folder; name the page to write with --out")
    if page.exists() and not is_report(page):
        if not overwrite:
            raise RequestError(f"{page} is not a page of this program; use --overwrite to replace it, or another --out")
        check_result(page, overwrite=True)
    reports = [RunReport.read(folder) for folder in runs]
    RunDir(page.parent).write_text(page.name, render_report(reports))
    output = Output(quiet=quiet, as_json=as_json)
    output.say(str(page))
    if figures:
        output.say(saved_plots(report_plots(reports), figures))
    output.json({"page": page, "figures": figures})


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
    data: RunDataOption = None,
    columns: ColumnsOption = None,
    encoding: EncodingOption = None,
    skip_bad: SkipBadOption = False,
    task: RunTaskOption = None,
    shots: ShotsOption = None,
    test_size: TestSizeOption = EvaluationPlan.num_test,
    seeds: SeedsOption = 1,
    seed: SeedOption = 0,
    max_tokens: MaxTokensOption = None,
    max_minutes: MaxMinutesOption = None,
    dry_run: DryRunOption = False,
    price: PriceOption = None,
    price_per_hour: HourPriceOption = None,
    scorer: RunScorerOption = None,
    engine: EngineOption = DEFAULT_ENGINE,
    scorer_model: ScorerModelOption = None,
    api_key_file: KeyOption = None,
    wait: WaitOption = None,
    allow_code: AllowCodeOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Prompt a model with a run's labels, and compare its answers on unseen examples with their gold labels.

    Writes accuracy, balanced accuracy, AUROC and calibration, with intervals, to RUN/eval.json, next to those of
    zero-shot. If the labelled examples have gold labels, it also reports theirs, the share of the gap recovered, and
    how many of the most certain labels are wrong.

    --data holds gold labels for the rows of the run or model; those that were not labelled are tested on. The task
    file names their field. Both are by default the files that the run began with.

    Example: icm eval runs/spam --task spam.yaml --data messages.csv

    Example: icm eval --model runs/spam-tuned --task spam.yaml --data messages.csv
    """
    output, how = Output(quiet=quiet, as_json=as_json), read_as(columns, encoding, skip_bad)
    base = None
    if model is not None and run is None:
        from icm_trainer.cli.judged import base_scorer, judged_model

        subject = judged_model(model, task, data, test, output.inform, allow_code=allow_code, how=how)
        base = base_scorer(model)
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
        _finish(output, subject, labels_alone(subject.name, subject.shots, subject.task, subject.found_by))
        output.note("the run labelled all rows that have gold labels; --test names others to test on")
        return
    named = _scorer(output, subject.folder, scorer or base, engine, wait, api_key_file, scorer_model)
    plan = EvaluationPlan(shots, test_size, seeds, seed)
    prices = Price(price, price_per_hour)

    async def evaluated(client: Scorer, plan: EvaluationPlan, progress: RunProgress) -> Evaluation:
        return await evaluate_run(
            subject.name, subject.shots, held_out, subject.task, client, plan, progress, subject.tuned
        )

    if dry_run:

        async def rehearse(rehearsal: Rehearsal) -> Rehearsed:
            others = replace(plan, first_seed=seed + seeds)  # what is measured is in no cache for the evaluation
            await evaluated(rehearsal, others, RunProgress(silent(), "", []))
            return Rehearsed()

        DryRun(prices, max_minutes).show(output, "dry run", named, rehearse, varies=False)
        return

    async def work() -> tuple[Evaluation, LimitedScorer]:
        with RunProgress(output.aside, f"eval: {subject.name}", subject.task.label_names) as progress:
            async with named.open(progress.status, progress.note) as client:
                limited = LimitedScorer(client, max_tokens, None if max_minutes is None else 60 * max_minutes)
                return await evaluated(limited, plan, progress), limited

    evaluation, spent = interruptible(work(), output)
    cost = prices.lines(spent.usage.computed_tokens, spent.usage.prompt_tokens, spent.seconds)
    fields = prices.fields(spent.usage.computed_tokens, spent.seconds)
    _finish(output, subject, evaluation, cost, fields)


def _finish(
    output: Output,
    subject: Subject,
    evaluation: Evaluation,
    cost: Sequence[str] = (),
    fields: Mapping[str, float] = {},
) -> None:
    """Writes and prints what was found, and what it cost."""
    RunDir(subject.folder).write(EVALUATION, evaluation)
    print_evaluation(output.text, evaluation, subject.found_by)
    num_tested = len(subject.held_out.examples) if subject.held_out else 0
    output.say(f"{subject.pool.counts_text}, {num_tested:,} of them to test on.")
    for line in cost:
        output.say(line)
    output.say(f"Written to {subject.folder / EVALUATION}")
    output.json({"file": subject.folder / EVALUATION, **evaluation.model_dump(exclude={"format"}), **fields})
    if subject.note:
        output.note(subject.note)


def _scorer(
    output: Output,
    folder: Path,
    scorer: str | None,
    engine: str,
    wait: float | None,
    key: KeyFile | None,
    model: str | None,
) -> NamedScorer:
    """The scorer that the options name; else that of the run, which is said; else the default one."""
    named = scorer_of_run(folder, scorer, engine, wait, key, model)
    if named is None:
        output.note(f"{folder} does not say which scorer it used: {DEFAULT_SCORER} is asked; --scorer names another")
        return named_scorer(DEFAULT_SCORER, engine, wait, key, model)
    if scorer is None:
        output.inform(f"Scorer: {shown(named.name)}, as of the run; --scorer names another.")
    return named
