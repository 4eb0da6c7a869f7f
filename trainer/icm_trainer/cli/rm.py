"""`icm train rm` and `icm train eval-rm`. Thin callers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from icm_annealer.cli.shared.bounds import MAX_COUNT
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
from icm_annealer.runs.atomic_write import check_writable
from icm_annealer.runs.directory import RunDir
from icm_client.contract.errors import RequestError
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
from icm_trainer.rm.job import RmJob
from icm_trainer.rm.judged import EVALUATION, PairFigures, RmEvaluation, judged, pairs_to_judge
from icm_trainer.rm.pairing import PAIRINGS, PairOptions
from icm_trainer.rm.record import RmRecord, read_used_pairs
from icm_trainer.rm.reward_model import RewardModel
from icm_trainer.rm.sources import read_given, rest_of
from icm_trainer.rm.two_stages import TwoStages, first_folder
from icm_trainer.sft.record import MERGED, read_record, threads_of
from icm_trainer.sft.settings import SftSettings
from icm_trainer.sft.sources import LabelOptions

PairingOption = Annotated[
    str | None,
    typer.Option(
        "--pairing",
        metavar="|".join(PAIRINGS),
        help="What a pair is made of: the two responses that an example compares, two examples of one group, or "
        "any two examples.",
        show_default="the first of these that the task has",
    ),
]
BetterOption = Annotated[
    str | None,
    typer.Option(
        "--better",
        help="The label of good examples; of compared responses, that for the first being better.",
        show_default="the one that the rules name, or the first",
    ),
]
ResponseOption = Annotated[
    str | None, typer.Option("--response", metavar="FIELD,FIELD", help="The two fields that an example compares.")
]


def rm(
    labels: Annotated[
        str | None,
        typer.Argument(
            metavar="RUN|LABELS|PAIRS",
            help="As for `icm train sft`; or a file of preferences with the fields chosen and rejected, and prompt.",
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
    pairs: PairingOption = None,
    better: BetterOption = None,
    response: ResponseOption = None,
    prompt: Annotated[
        str | None,
        typer.Option(
            "--prompt", metavar="TEMPLATE", help="What stands before a response.", show_default="as in the task"
        ),
    ] = None,
    two_stage: Annotated[
        int | None,
        typer.Option(
            "--two-stage",
            metavar="N",
            min=1,
            max=MAX_COUNT,
            help="First make a reward model of the labels, in OUT-first; let it judge N further rows; learn from all.",
        ),
    ] = None,
    base: BaseOption = None,
    preset: PresetOption = None,
    full: FullOption = False,
    rank: RankOption = 16,
    rate: RateOption = None,
    epochs: EpochsOption = None,
    batch: BatchOption = None,
    held_out: HeldOutOption = 0.1,
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
    """Make a reward model of labels, or of a file of preferences.

    The reward of a text is the log-odds of the good label behind it, learnt from pairs of a better and a worse text.
    A scorer serves it as an adapter, like a classifier.

    Example: icm train rm runs/first --out runs/first-rm

    Example: icm train rm preferences.jsonl --out runs/by-people
    """
    prepare_torch("icm train rm")
    output = Output(quiet=quiet, as_json=as_json)
    options = LabelOptions(labels, task, data, from_gold, field, allow_code)
    how = PairOptions(kind=pairs, better=better, prompt=prompt, response=response)
    given = read_given(options, how, lambda found: found.first(first).certain(abstain_below, min_margin))
    given.pairs.check()
    settings = SftSettings.of(
        chosen_device(device),
        preset,
        full=full,
        rank=rank,
        rate=rate,
        epochs=epochs,
        batch=batch,
        held_out=held_out,
        max_tokens=text_tokens,
        cut=cut,
        threads=threads or (threads_of(out if two_stage is None else first_folder(out)) if resume else None),
        seed=seed,
    )
    job = RmJob(given.pairs, base_model(base, options, cache, output.inform), settings, out, how, given.of_task, merge)
    output.inform(f"{len(given.pairs.pairs):,} pairs, {given.pairs.origin.text}", wraps=True)
    for alarm in given.pairs.origin.run.alarms if given.pairs.origin.run else ():
        output.alarm(f"the run's {alarm}", is_warning=alarm.startswith("warning"))

    def shown(stage: str) -> RunProgress:
        return RunProgress(output.aside, f"rm: {given.pairs.form.name}{stage and ', '}{stage}", [])

    again = f"icm train rm ... --out {out} --resume"
    if two_stage is None:
        prepared = job.prepare(resume=resume, overwrite=overwrite)
        if prepared.has_ended:
            output.note(f"this training had already ended; the model in {out} was not changed")

        async def work() -> RmRecord:
            with shown("") as progress:
                return await prepared.run(progress)

        ended: RmRecord = interruptible(work(), output, again)
        _print_end(output, ended, out)
    else:
        if given.labels is None:
            raise RequestError("--two-stage needs labels of a task, not a file of preferences")
        stages = TwoStages(job, given.labels, rest_of(options, given.labels.given, two_stage))
        before, ended = interruptible(stages.run(shown, resume=resume, overwrite=overwrite), output, again)
        _print_end(output, before, stages.first_folder)
        _print_end(output, ended, out)
    if merge and not full:
        output.say(f"Merged: {out / MERGED}")
    output.json({"folder": out, **ended.model_dump(exclude={"format"})})


def eval_rm(
    folder: Annotated[Path, typer.Argument(help="The folder of a model of `icm train rm`.")],
    test: Annotated[
        str | None,
        typer.Option(
            "--test",
            help="Rows with gold labels; or a file of preferences, such as RewardBench's: prompt, chosen, rejected.",
            show_default="those of the task",
        ),
    ] = None,
    task: RunTaskOption = None,
    device: DeviceOption = "auto",
    cache: CacheOption = CACHE,
    allow_code: AllowCodeOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Judge a reward model on pairs that it did not learn from, beside the model that it was made of.

    Writes accuracy, the calibration of the probability of a preference, and how far rewards go by length, with
    intervals, to FOLDER/rm-eval.json.

    Example: icm train eval-rm runs/by-people --test rewardbench.jsonl
    """
    record = read_record(folder, RmRecord)
    prepare_torch("icm train eval-rm")
    output = Output(quiet=quiet, as_json=as_json)
    check_writable(folder / EVALUATION)
    pairs = pairs_to_judge(str(folder), record, read_used_pairs(folder), task, test, allow_code=allow_code)
    chosen = chosen_device(device)
    model = RewardModel.load(folder, cache, output.inform, chosen)
    rewards = {"tuned": model.rewards}
    try:
        rewards["untuned"] = model.untuned(folder, cache, output.inform, chosen).rewards
    except RequestError as error:  # a model of `--full` is whole without it
        output.note(f"not beside the model that it was made of: {error.message}")
    found = judged(folder.resolve().name, pairs, rewards)
    RunDir(folder).write(EVALUATION, found)
    for line in _lines(found):
        output.say(line, wraps=True)
    output.say(f"Written to {folder / EVALUATION}")
    output.json({"file": folder / EVALUATION, **found.model_dump(exclude={"format"})})


def _print_end(output: Output, record: RmRecord, out: Path) -> None:
    assert record.result is not None
    kept = record.result.kept
    seen = "" if kept.held_out_agreement is None else f"; {kept.held_out_agreement:.3f} of the held-out pairs agree"
    output.say(
        f"{record.pairs.num:,} pairs. Kept the weights of step {kept.step:,} of {record.num_steps:,}{seen}; "
        f"{duration(record.result.seconds)}",
        wraps=True,
    )
    output.say(f"Written to {out}")
    output.inform(f"How good it is: icm train eval-rm {out}")


def _lines(found: RmEvaluation) -> list[str]:
    lines = [f"{found.model} on {found.num_pairs:,} pairs in {found.num_groups:,} groups: {found.test}"]
    for name in PairFigures.model_fields:
        values = {model: getattr(figures, name) for model, figures in found.figures.items()}
        if not all(math.isnan(estimate.value) for estimate in values.values()):
            parts = ", ".join(f"{model} {estimate}" for model, estimate in values.items())
            lines.append(f"{name.replace('_', ' ')}: {parts}")
    if found.chosen_longer is not None:
        lines.append(f"the chosen text is the longer one in {found.chosen_longer:.3f} of the pairs")
    lines += [f"{name}: {accuracy}" for name, accuracy in found.by_subset.items()]
    return lines
