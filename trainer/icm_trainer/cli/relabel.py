"""`icm train relabel`. A thin caller."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from icm_annealer.cli.shared.options import AllowCodeOption, RatesOption, finite, interruptible
from icm_annealer.console.progress import RunProgress
from icm_annealer.console.terminal import Terminal
from icm_annealer.data.rates import read_rates
from icm_annealer.data.task import with_rates
from icm_annealer.runs.directory import LABELS
from icm_annealer.runs.record import RunRecord
from icm_annealer.scorers.registry import DEFAULT_MODEL
from icm_trainer.cli.options import CACHE, CacheOption, DeviceOption, prepare_torch
from icm_trainer.models.base_model import BaseModel
from icm_trainer.models.device import chosen_device
from icm_trainer.relabel.job import RelabelJob, threads_before
from icm_trainer.relabel.page import gold_again, right_labels, write_page
from icm_trainer.relabel.record import RelabelRecord
from icm_trainer.relabel.settings import RelabelSettings
from icm_trainer.relabel.start import read_start
from icm_trainer.sft.settings import SftSettings, presets_help
from icm_trainer.sft.sources import LabelOptions, run_of


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
    out: Annotated[Path, typer.Option("--out", help="The folder for the labels, which is read as a run's.")] = ...,  # type: ignore[assignment]
    task: Annotated[
        str | None, typer.Option("--task", help="The labels' task: a built-in one or a task file. A run has its own.")
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", help="The task's rows, for labels by id or text, for --all, and for gold.")
    ] = None,
    from_gold: Annotated[bool, typer.Option("--from-gold", help="Start from the gold labels of these rows.")] = False,
    field: Annotated[
        str | None, typer.Option("--field", help="Start from the labels that people wrote into this field of the rows.")
    ] = None,
    examples: Annotated[int | None, typer.Option(min=2, help="Start from the first N labels only.")] = None,
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
    base: Annotated[
        str | None,
        typer.Option(
            "--base",
            help="The model to tune: a packaged one, a folder, or a hub id.",
            show_default=f"the run's model, else {DEFAULT_MODEL}",
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(metavar="NAME", help=f"{presets_help()}.", show_default="cpu or gpu, as the device is"),
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Train all weights, and not a LoRA adapter.")] = False,
    rank: Annotated[int, typer.Option(min=1, help="LoRA's rank; alpha is twice as high.")] = 16,
    rate: Annotated[float | None, typer.Option(min=1e-9, max=1.0, callback=finite, help="The learning rate.")] = None,
    epochs: Annotated[float | None, typer.Option(min=0.01, max=1000, callback=finite)] = None,
    batch: Annotated[int | None, typer.Option(min=1, max=65_536, help="Rows a step.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=2, help="The longest text with its label.")] = None,
    cut: Annotated[
        bool, typer.Option("--cut", help="Take off the beginning of longer texts, instead of refusing them.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Determines everything random.")] = 0,
    device: DeviceOption = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="On a CPU.", show_default="all cores")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the relabelling in --out.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is in --out.")] = False,
    cache: CacheOption = CACHE,
    allow_code: AllowCodeOption = False,
) -> None:
    """Label with tuned models: a model that learns from the labels of some examples labels the others.

    In each round the examples are dealt to folds, and each fold is labelled by a model tuned on the other folds. The
    rounds end when labels settle, or when one judges labels that are clearly worse than before, which are not taken.
    Everything reads OUT as it reads a run's folder; OUT/relabelling.html shows the rounds.

    Example: icm train relabel runs/first --out runs/relabelled

    Example: icm train relabel runs/first --all --out runs/everything
    """
    prepare_torch("icm train relabel")
    console = Terminal()
    options = LabelOptions(labels, task, data, from_gold, field, allow_code)
    start = read_start(options, examples, labels_all=all_rows)
    if rates:
        start = start.with_rates(with_rates(start.task, read_rates(rates)))
    record = run_of(options)
    sft = SftSettings.of(
        chosen_device(device),
        preset,
        full=full,
        rank=rank,
        rate=rate,
        epochs=epochs,
        batch=batch,
        max_tokens=max_tokens,
        cut=cut,
        threads=threads or (threads_before(out) if resume else None),
        seed=seed,
    )
    settings = RelabelSettings(folds=folds, rounds=rounds, trust=trust, batches=batches, sft=sft)
    found = BaseModel.find(base or (record.header.model.name if record else DEFAULT_MODEL), cache, console.say)
    job = RelabelJob(start, found, settings, out, cache)
    job.prepare(resume=resume, overwrite=overwrite)
    num_open = len(start.examples) - start.num_labelled
    console.say(
        f"{start.num_labelled:,} labels, {start.origin.text}"
        + (f"; {num_open:,} rows to label first" if num_open else "")
        + f"; {settings.sft.method} on {found.name}, {folds} models a round",
        wraps=True,
    )

    def progress(title: str) -> RunProgress:
        console.say(title)
        return RunProgress(console, title, start.task.label_names)

    again = f"icm train relabel ... --out {out} --resume"
    figures: RelabelRecord = interruptible(job.run(progress, resume=resume), console, again)
    gold = gold_again(out, task, data, allow_code=allow_code)
    page = write_page(out, gold)
    _print_end(console, figures, out, gold)
    console.say(f"Labels: {out / LABELS}; page: {page}")


def _print_end(console: Terminal, figures: RelabelRecord, out: Path, gold: dict[str, str]) -> None:
    right = right_labels(out, gold)
    for number, one in enumerate(figures.rounds, 1):
        share = right.by_round[number - 1]
        rates = " ".join(f"{name} {rate:.0%}" for name, rate in one.label_rates.items())
        console.say(
            f"round {number}: U {one.u:+.3f} ± {one.u_se:.3f}, agreement {one.agreement:.3f}, {rates}"
            + (f", {share.value:.3f} right by gold" if share else "")
            + f"; proposes {one.change:.1%} other labels"
        )
    how = f"settled from round {figures.taken}" if figures.is_settled else f"those that round {figures.taken} judged"
    console.say(
        f"The labels are {how}; {figures.num_changed:,} of {figures.num_labelled:,} at the start were changed."
        + (f" Right by gold: {right.result.value:.3f}." if right.result else "")
        + (f" Of the rows added: {right.added.value:.3f}." if right.added else ""),
        wraps=True,
    )
    console.say(f"Verdict: {RunRecord.read(out).verdict}", wraps=True)
    for alarm in figures.alarms:
        console.say(f"{alarm.level} {alarm.code}: {alarm}", wraps=True)
