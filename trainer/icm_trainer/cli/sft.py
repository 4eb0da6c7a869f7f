"""`icm train sft`. A thin caller."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from icm_annealer.cli.shared.options import AllowCodeOption, RunDataOption, RunTaskOption, interruptible
from icm_annealer.cli.shared.work_options import (
    AbstainOption,
    FirstOption,
    JsonOption,
    OverwriteOption,
    QuietOption,
    ResumeOption,
    SeedOption,
)
from icm_annealer.console.output import Output
from icm_annealer.console.progress import RunProgress, duration
from icm_trainer.cli.options import CACHE, CacheOption, DeviceOption, prepare_torch
from icm_trainer.cli.training_options import (
    BaseOption,
    BatchOption,
    CutOption,
    EpochsOption,
    FieldOption,
    FromGoldOption,
    FullOption,
    HeldOutOption,
    MergeOption,
    MinMarginOption,
    OutOption,
    PresetOption,
    RankOption,
    RateOption,
    TextTokensOption,
    ThreadsOption,
    base_model,
)
from icm_trainer.models.device import chosen_device
from icm_trainer.sft.job import SftJob
from icm_trainer.sft.labelled import LabelSet
from icm_trainer.sft.record import MERGED, SftRecord, threads_of
from icm_trainer.sft.settings import SftSettings
from icm_trainer.sft.sources import LabelOptions, read_labels


def sft(
    labels: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN|LABELS",
            help="The folder of a finished run; or a file of rows with the fields label and text (as icm export writes "
            "them) or label and id; or, with --from-gold or --field, rows of the task.",
            show_default="the task's own data",
        ),
    ] = None,
    out: OutOption = ...,  # type: ignore[assignment]
    task: RunTaskOption = None,
    data: RunDataOption = None,
    from_gold: FromGoldOption = False,
    field: FieldOption = None,
    first: FirstOption = None,
    abstain_below: AbstainOption = None,
    min_margin: MinMarginOption = None,
    base: BaseOption = None,
    preset: PresetOption = None,
    full: FullOption = False,
    rank: RankOption = 16,
    rate: RateOption = None,
    epochs: EpochsOption = None,
    batch: BatchOption = None,
    held_out: HeldOutOption = 0.1,
    class_weights: Annotated[
        bool, typer.Option("--class-weights", help="Let the rows of every label together count the same.")
    ] = False,
    text_tokens: TextTokensOption = None,
    cut: CutOption = False,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    merge: MergeOption = False,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    cache: CacheOption = CACHE,
    allow_code: AllowCodeOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Fine-tune a model into a classifier, on the labels of a run, a file, gold or people.

    The folder OUT is loaded by transformers, peft and vLLM; README.md in it is the model's card.

    Example: icm train sft runs/first --out runs/first-tuned

    Example: icm train sft --task my_task.yaml --data rows.csv --field annotator --out runs/by-people
    """
    prepare_torch("icm train sft")
    output = Output(quiet=quiet, as_json=as_json)
    options = LabelOptions(labels, task, data, from_gold, field, allow_code)
    given = read_labels(options).first(first).certain(abstain_below, min_margin)
    given.check()
    settings = SftSettings.of(
        chosen_device(device),
        preset,
        full=full,
        rank=rank,
        rate=rate,
        epochs=epochs,
        batch=batch,
        held_out=held_out,
        class_weights=class_weights,
        max_tokens=text_tokens,
        cut=cut,
        threads=threads or (threads_of(out) if resume else None),
        seed=seed,
    )
    found = base_model(base, options, cache, output.inform)
    job = SftJob(given, found, settings, out, merge)
    prepared = job.prepare(resume=resume, overwrite=overwrite)
    _print_start(output, given, prepared.record)
    if prepared.has_ended:
        output.note(f"this training had already ended; the model in {out} was not changed")

    async def work() -> SftRecord:
        with RunProgress(output.aside, f"sft: {given.task.name}", given.task.label_names) as progress:
            return await prepared.run(progress)

    ended: SftRecord = interruptible(work(), output, f"icm train sft ... --out {out} --resume")
    _print_end(output, ended, out, merge)
    output.json({"folder": out, **ended.model_dump(exclude={"format"})})


def _print_start(output: Output, labels: LabelSet, record: SftRecord) -> None:
    counts = ", ".join(f"{name} {num:,}" for name, num in labels.counts.items())
    left_out = f", {labels.num_left_out:,} rows left out" if labels.num_left_out else ""
    output.inform(f"{len(labels.rows):,} labels ({counts}{left_out}), {labels.origin.text}", wraps=True)
    held_out, settings = record.labels.num_held_out, record.settings
    output.inform(
        f"{settings.method} on {record.base.name}, learning rate {settings.rate:g}, {record.num_steps:,} steps; "
        + (f"{held_out:,} labels are held out" if held_out else "too few labels to hold any out")
        * bool(settings.held_out)
        + "no labels are held out" * (not settings.held_out),
        wraps=True,
    )
    for alarm in labels.origin.run.alarms if labels.origin.run else ():
        output.alarm(f"the run's {alarm}", is_warning=alarm.startswith("warning"))


def _print_end(output: Output, record: SftRecord, out: Path, merged: bool) -> None:
    assert record.result is not None
    kept = record.result.kept
    seen = "" if kept.held_out_agreement is None else f"; {kept.held_out_agreement:.3f} of the held-out labels agree"
    output.say(
        f"Kept the weights of step {kept.step:,} of {record.num_steps:,}{seen}; {duration(record.result.seconds)}"
    )
    output.say(f"Written to {out}" + (f"; merged: {out / MERGED}" if merged and not record.settings.full else ""))
    output.inform(f"How good it is: icm eval --model {out}")
