"""`icm train sft`. A thin caller."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from icm_annealer.cli.shared.options import (
    AllowCodeOption,
    RunDataOption,
    RunTaskOption,
    finite,
    interruptible,
)
from icm_annealer.cli.shared.work_options import (
    AbstainOption,
    FirstOption,
    JsonOption,
    OverwriteOption,
    QuietOption,
    ResumeOption,
    SeedOption,
    out_folder,
)
from icm_annealer.console.output import Output
from icm_annealer.console.progress import RunProgress, duration
from icm_annealer.scorers.registry import DEFAULT_MODEL
from icm_client.contract.errors import RequestError
from icm_trainer.cli.options import CACHE, CacheOption, DeviceOption, prepare_torch
from icm_trainer.models.base_model import BaseModel
from icm_trainer.models.device import chosen_device
from icm_trainer.sft.job import SftJob
from icm_trainer.sft.labelled import LabelSet
from icm_trainer.sft.record import MERGED, SftRecord, threads_of
from icm_trainer.sft.settings import SftSettings, presets_help
from icm_trainer.sft.sources import LabelOptions, read_labels, run_of


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
    out: Annotated[Path, out_folder("the model")] = ...,  # type: ignore[assignment]
    task: RunTaskOption = None,
    data: RunDataOption = None,
    from_gold: Annotated[bool, typer.Option("--from-gold", help="Learn the gold labels of these rows.")] = False,
    field: Annotated[
        str | None, typer.Option("--field", help="Learn the labels that people wrote into this field of the rows.")
    ] = None,
    first: FirstOption = None,
    abstain_below: AbstainOption = None,
    min_margin: Annotated[
        float | None,
        typer.Option(
            metavar="NATS",
            min=0.0,
            callback=finite,
            help="Leave out labels that score less than this above the next best one.",
        ),
    ] = None,
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
    held_out: Annotated[
        float,
        typer.Option(
            min=0.0,
            max=0.5,
            callback=finite,
            help="The share of the labels that are not learnt from, but tell when to stop; none if these are fewer "
            "than 8.",
        ),
    ] = 0.1,
    class_weights: Annotated[
        bool, typer.Option("--class-weights", help="Let the rows of every label together count the same.")
    ] = False,
    text_tokens: Annotated[
        int | None, typer.Option(min=2, help="The most tokens of a text with its label.", show_default="the window")
    ] = None,
    cut: Annotated[
        bool, typer.Option("--cut", help="Take off the beginning of longer texts, instead of refusing them.")
    ] = False,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="On a CPU.", show_default="all cores")] = None,
    merge: Annotated[
        bool, typer.Option("--merge", help=f"Also merge the adapter into the model, in OUT/{MERGED}.")
    ] = False,
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
    record = run_of(options)
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
    name = base or (record.header.model.name if record else DEFAULT_MODEL)
    try:
        found = BaseModel.find(name, cache, output.inform)
    except RequestError as error:
        if base or not record:
            raise
        raise RequestError(f"{error.message}; it found the labels of {labels}: name another by --base") from None
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
