"""`icm train relabel`. A thin caller."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from icm_annealer.cli.shared.options import (
    AllowCodeOption,
    RatesOption,
    RunDataOption,
    RunTaskOption,
    finite,
    interruptible,
)
from icm_annealer.cli.shared.work_options import (
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
from icm_annealer.data.rates import read_rates
from icm_annealer.data.task import with_rates
from icm_annealer.runs.directory import LABELS
from icm_annealer.runs.record import RunRecord
from icm_trainer.cli.options import CACHE, CacheOption, DeviceOption, prepare_torch
from icm_trainer.cli.training_options import (
    BaseOption,
    BatchOption,
    CutOption,
    EpochsOption,
    FieldOption,
    FromGoldOption,
    FullOption,
    PresetOption,
    RankOption,
    RateOption,
    TextTokensOption,
    ThreadsOption,
    base_model,
)
from icm_trainer.models.device import chosen_device
from icm_trainer.relabel.job import RelabelJob, threads_before
from icm_trainer.relabel.page import gold_again, right_labels, write_page
from icm_trainer.relabel.record import RelabelRecord
from icm_trainer.relabel.settings import RelabelSettings
from icm_trainer.relabel.start import read_start
from icm_trainer.sft.settings import SftSettings
from icm_trainer.sft.sources import LabelOptions


def relabel(
    labels: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN|LABELS",
            help="The labels to start from: the folder of a finished run; or a file of rows with the fields label and "
            "id, or label and text; or, with --from-gold or --field, rows of the task.",
            show_default="the task's own data",
        ),
    ] = None,
    out: Annotated[Path, out_folder("the labels, which are read as a run's")] = ...,  # type: ignore[assignment]
    task: RunTaskOption = None,
    data: RunDataOption = None,
    from_gold: FromGoldOption = False,
    field: FieldOption = None,
    first: FirstOption = None,
    all_rows: Annotated[
        bool, typer.Option("--all", help="Label the other rows of the data too, by models tuned on the labels given.")
    ] = False,
    batches: Annotated[
        int,
        typer.Option(
            min=1, max=1000, help="With --all: label these rows in N steps, each by a model tuned on all before it."
        ),
    ] = 1,
    rounds: Annotated[int, typer.Option(min=1, max=100, help="The most rounds; fewer if the labels settle.")] = 3,
    folds: Annotated[
        int, typer.Option(min=2, max=64, help="The parts of the examples; a model for each is tuned on the others.")
    ] = 2,
    trust: Annotated[
        float,
        typer.Option(
            metavar="SHARE",
            min=0.01,
            max=1.0,
            callback=finite,
            help="Learn from this share of each label's rows, those with the largest margins; all are labelled.",
        ),
    ] = 1.0,
    rates: RatesOption = None,
    base: BaseOption = None,
    preset: PresetOption = None,
    full: FullOption = False,
    rank: RankOption = 16,
    rate: RateOption = None,
    epochs: EpochsOption = None,
    batch: BatchOption = None,
    text_tokens: TextTokensOption = None,
    cut: CutOption = False,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    cache: CacheOption = CACHE,
    allow_code: AllowCodeOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Label with tuned models: a model that learns from the labels of some examples labels the others.

    In each round the examples are dealt to folds, and each fold is labelled by a model tuned on the other folds. The
    rounds end when labels settle, or when one judges labels that are clearly worse than before, which are not taken.
    Everything reads OUT as it reads a run's folder; OUT/relabelling.html shows the rounds.

    Example: icm train relabel runs/first --out runs/relabelled

    Example: icm train relabel runs/first --all --out runs/everything
    """
    prepare_torch("icm train relabel")
    output = Output(quiet=quiet, as_json=as_json)
    options = LabelOptions(labels, task, data, from_gold, field, allow_code)
    start = read_start(options, first, labels_all=all_rows)
    if rates:
        start = start.with_rates(with_rates(start.task, read_rates(rates)))
    sft = SftSettings.of(
        chosen_device(device),
        preset,
        full=full,
        rank=rank,
        rate=rate,
        epochs=epochs,
        batch=batch,
        max_tokens=text_tokens,
        cut=cut,
        threads=threads or (threads_before(out) if resume else None),
        seed=seed,
    )
    settings = RelabelSettings(folds=folds, rounds=rounds, trust=trust, batches=batches, sft=sft)
    found = base_model(base, options, cache, output.inform)
    job = RelabelJob(start, found, settings, out, cache)
    job.prepare(resume=resume, overwrite=overwrite)
    num_open = len(start.examples) - start.num_labelled
    output.inform(
        f"{start.num_labelled:,} labels, {start.origin.text}"
        + (f"; {num_open:,} rows to label first" if num_open else "")
        + f"; {settings.sft.method} on {found.name}, {folds} models a round",
        wraps=True,
    )

    def progress(title: str) -> RunProgress:
        output.inform(title)
        return RunProgress(output.aside, title, start.task.label_names)

    again = f"icm train relabel ... --out {out} --resume"
    figures: RelabelRecord = interruptible(job.run(progress, resume=resume), output, again)
    gold = gold_again(out, task, data, allow_code=allow_code)
    page = write_page(out, gold)
    _print_end(output, figures, out, gold)
    output.say(f"Labels: {out / LABELS}; page: {page}")
    output.json({"folder": out, "page": page, **figures.model_dump(exclude={"format"})})


def _print_end(output: Output, figures: RelabelRecord, out: Path, gold: dict[str, str]) -> None:
    right = right_labels(out, gold)
    for number, one in enumerate(figures.rounds, 1):
        share = right.by_round[number - 1]
        rates = " ".join(f"{name} {rate:.0%}" for name, rate in one.label_rates.items())
        output.say(
            f"round {number}: U {one.u:+.3f} ± {one.u_se:.3f}, agreement {one.agreement:.3f}, {rates}"
            + (f", {share.value:.3f} right by gold" if share else "")
            + f"; proposes {one.change:.1%} other labels"
        )
    how = f"settled from round {figures.taken}" if figures.is_settled else f"those that round {figures.taken} judged"
    output.say(
        f"The labels are {how}; {figures.num_changed:,} of {figures.num_labelled:,} at the start were changed."
        + (f" Right by gold: {right.result.value:.3f}." if right.result else "")
        + (f" Of the rows added: {right.added.value:.3f}." if right.added else ""),
        wraps=True,
    )
    output.say(f"Verdict: {RunRecord.read(out).verdict}", wraps=True)
    for alarm in figures.alarms:
        output.alarm(alarm.line, is_warning=alarm.level == "warning")
