"""`icm train rl` and `icm train eval-rl`. Thin callers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from icm_annealer.cli.shared.bounds import MAX_AMOUNT
from icm_annealer.cli.shared.options import AllowCodeOption, KeyFile, RunTaskOption, finite, interruptible
from icm_annealer.cli.shared.work_options import (
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
from icm_client.text.counts import counted
from icm_trainer.cli.options import CACHE, CacheOption, DeviceOption, prepare_torch
from icm_trainer.cli.training_options import (
    HeldOutOption,
    MergeOption,
    OutOption,
    RankOption,
    RateOption,
    ThreadsOption,
)
from icm_trainer.models.base_model import BaseModel
from icm_trainer.models.device import chosen_device
from icm_trainer.rl.head_to_head import HeadToHead, Side, check_judge, evaluation_file, head_to_head
from icm_trainer.rl.job import RlJob
from icm_trainer.rl.page import write_page
from icm_trainer.rl.prompts import PROMPT, PromptForm, find_prompts, read_prompts
from icm_trainer.rl.record import RlRecord, read_used_prompts
from icm_trainer.rl.settings import RlSettings
from icm_trainer.rl.vllm_writer import VllmServer
from icm_trainer.rm.record import RmRecord
from icm_trainer.rm.reward_model import RewardModel
from icm_trainer.sft.record import MERGED, read_record, threads_of

PromptsOption = Annotated[
    str | None,
    typer.Option(
        "--prompts",
        metavar="FILE",
        help=f"Rows with the fields in front of the response, or with the field {PROMPT}.",
        show_default="the rows of the reward model's task",
    ),
]
PolicyBaseOption = Annotated[
    str | None,
    typer.Option(
        "--base",
        help="The model to start from: a packaged one, a folder such as the merged one of icm train sft, or a hub id.",
        show_default="the one that the reward model was made of",
    ),
]
StepsOption = Annotated[int, typer.Option(min=1, max=100_000)]
TokensOption = Annotated[int, typer.Option(min=1, max=8192, help="The most tokens of a response.")]
StopOption = Annotated[
    str,
    typer.Option(
        metavar="TEXT",
        help=r"A response ends in front of this text; \n is a line break.",
        show_default="the model's end of text alone",
    ),
]


def rl(
    reward: Annotated[
        Path, typer.Argument(metavar="REWARD", help="The folder of a reward model (icm train rm), which judges.")
    ],
    out: OutOption = ...,  # type: ignore[assignment]
    prompts: PromptsOption = None,
    task: RunTaskOption = None,
    first: FirstOption = None,
    base: PolicyBaseOption = None,
    steps: StepsOption = 40,
    batch: Annotated[int, typer.Option(min=1, max=4096, help="Prompts a step.")] = 8,
    group: Annotated[
        int, typer.Option("--group-size", min=2, max=1024, help="Responses to a prompt, which are compared.")
    ] = 8,
    tokens: TokensOption = 32,
    stop: StopOption = "",
    beta: Annotated[
        float,
        typer.Option(min=0.0, max=100.0, callback=finite, help="How much a nat of KL to the start, per token, costs."),
    ] = 0.04,
    kl_ceiling: Annotated[
        float,
        typer.Option(
            "--kl-ceiling",
            metavar="NATS",
            min=0.001,
            max=MAX_AMOUNT,
            callback=finite,
            help="Stop where the policy is farther than this from its start, per response, and keep the last weights "
            "that are not.",
        ),
    ] = 20.0,
    length_penalty: Annotated[
        float,
        typer.Option(
            "--length-penalty", min=0.0, max=100.0, callback=finite, help="Taken off the reward for every token."
        ),
    ] = 0.0,
    looks: Annotated[
        int, typer.Option(min=1, max=1000, help="How often the same prompts are answered, besides at the start.")
    ] = 8,
    vllm: Annotated[
        str | None,
        typer.Option(
            "--vllm",
            metavar="URL",
            help="The address of a vLLM server that writes the responses; it serves the model to start from, with "
            "--enable-lora.",
            show_default="transformers writes them",
        ),
    ] = None,
    key: Annotated[
        KeyFile | None,
        typer.Option("--vllm-key-file", parser=KeyFile, metavar="FILE", help="A file with that server's API key."),
    ] = None,
    rank: RankOption = 16,
    rate: RateOption = None,
    held_out: HeldOutOption = 0.1,
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
    """Train a policy by reinforcement learning (GRPO): it learns to write what a reward model likes.

    The policy writes the last field of the reward model's template; what stands in front of it is the prompt. Reward,
    KL to the start and length are measured in every step, and the same prompts are answered at every look:
    OUT/rl.html shows them. The reward rises also where responses do not get better, so read them, and ask a judge
    that took no part: icm train eval-rl.

    Example: icm train rl runs/reward --base runs/words-model/merged --out runs/policy

    Example: icm train rl runs/reward --prompts prompts.jsonl --tokens 64 --stop "\\n" --out runs/policy
    """
    prepare_torch("icm train rl")
    output = Output(quiet=quiet, as_json=as_json)
    judge = read_record(reward, RmRecord)
    form = PromptForm(judge.task)
    asked = find_prompts(form, judge.pairs.of_task, str(reward), prompts, task, first, allow_code=allow_code)
    start = BaseModel.find(base or _base_of(judge), cache, output.inform)
    settings = RlSettings.of(
        chosen_device(device),
        start,
        steps=steps,
        batch=batch,
        group=group,
        tokens=tokens,
        stop=stop.replace("\\n", "\n"),
        beta=beta,
        kl_ceiling=kl_ceiling,
        length_penalty=length_penalty,
        looks=looks,
        held_out=held_out,
        writer="transformers" if vllm is None else "vllm",
        rank=rank,
        rate=rate,
        threads=threads or (threads_of(out) if resume else None),
        seed=seed,
    )
    server = None if vllm is None else VllmServer(vllm, key.key if key else None, output.inform)
    job = RlJob(reward, asked, start, settings, out, cache, merge, server=server)
    prepared = job.prepare(resume=resume, overwrite=overwrite, say=output.inform)
    output.inform(
        f"{len(asked.texts):,} prompts {asked.origin}, such as {asked.texts[0][-60:]!r}; the reward is the log-odds of "
        f"{judge.better!r}, by a model that learnt from pairs: {judge.pairs.origin.text}",
        wraps=True,
    )
    if prepared.has_ended:
        output.note(f"this training had already ended; the model in {out} was not changed")

    async def work() -> RlRecord:
        with RunProgress(output.aside, f"rl: {judge.task.name}", []) as progress:
            return await prepared.run(progress)

    ended: RlRecord = interruptible(work(), output, f"icm train rl ... --out {out} --resume")
    page = write_page(out)
    _print_end(output, ended, out, page)
    if merge:
        output.say(f"Merged: {out / MERGED}")
    output.json({"folder": out, "page": page, **ended.model_dump(exclude={"format"})})


def eval_rl(
    policy: Annotated[Path, typer.Argument(help="The folder of a policy (icm train rl).")],
    other: Annotated[
        Path | None,
        typer.Argument(help="Another policy, or any model's folder.", show_default="the policy's own start"),
    ] = None,
    judge: Annotated[
        Path,
        typer.Option("--judge", metavar="FOLDER", help="A reward model (icm train rm) that took no part."),
    ] = ...,  # type: ignore[assignment]
    prompts: Annotated[
        str | None,
        typer.Option(
            "--prompts",
            metavar="FILE",
            help=f"Rows with the fields in front of the response, or with the field {PROMPT}.",
            show_default="the policy's held-out prompts, or all if none are",
        ),
    ] = None,
    samples: Annotated[int, typer.Option("--per-prompt", min=1, max=1000, help="Responses of each to a prompt.")] = 8,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    cache: CacheOption = CACHE,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Judge a policy head to head: how often a judge prefers its response to that of its start, or of another policy.

    A judge that the policy was trained by is refused. Writes the win rate, also by which response is longer, with
    intervals, to POLICY/rl-eval.json, or rl-eval-OTHER.json (numbered if several others have this name); and
    POLICY/rl.html anew.

    Example: icm train eval-rl runs/policy --judge runs/gold-reward

    Example: icm train eval-rl runs/policy runs/policy-by-people --judge runs/gold-reward
    """
    prepare_torch("icm train eval-rl")
    output = Output(quiet=quiet, as_json=as_json)
    record = read_record(policy, RlRecord)
    file = evaluation_file(policy, other)
    check_writable(file)
    check_judge(judge, [policy, *([other] if other else [])])
    if prompts is not None:
        texts = list(read_prompts(prompts, PromptForm(record.task)).texts)
    else:
        used = read_used_prompts(policy)
        texts = [one.prompt for one in used if one.held_out] or [one.prompt for one in used]
    chosen = chosen_device(device)
    own = Side.load(policy, cache, output.inform, chosen)
    against = Side.load(other, cache, output.inform, chosen) if other else Side.start_of(own)
    model = RewardModel.load(judge, cache, output.inform, chosen)
    found = head_to_head(
        record,
        texts,
        (own, against),
        model,
        judge,
        samples=samples,
        seed=seed,
        on_side=lambda name: output.inform(f"{name} writes {len(texts) * samples:,} responses"),
    )
    RunDir(policy).write(file.name, found)
    for line in _lines(found):
        output.say(line, wraps=True)
    if found.shared_pairs:
        output.alarm(
            f"note: {found.shared_pairs:.0%} of the judge's pairs are also those of the reward model: its mistakes "
            "there may be the same",
            is_warning=found.shared_pairs > 0.5,
        )
    output.say(f"Written to {file} and {write_page(policy)}")
    output.json({"file": file, **found.model_dump(exclude={"format"})})


def _base_of(judge: RmRecord) -> str:
    """The reward model's base: where it was, or else its name."""
    return judge.base.folder if Path(judge.base.folder).is_dir() else judge.base.name


def _print_end(output: Output, record: RlRecord, out: Path, page: Path) -> None:
    start, kept = record.log[0].figures, record.kept.figures
    assert record.result is not None
    output.say(
        f"Kept the weights of step {record.kept.step:,} of {record.num_steps:,}: reward {start['reward']:+.2f} -> "
        f"{kept['reward']:+.2f}, KL {kept['kl']:.2f} nats per response, length {start['length']:.1f} -> "
        f"{kept['length']:.1f} tokens; {duration(record.result.seconds)}",
        wraps=True,
    )
    for alarm in record.alarms:
        output.alarm(f"{alarm.level} {alarm.code}: {alarm}", is_warning=alarm.level == "warning")
    output.say(f"Written to {out}; page: {page}")
    output.inform(f"Is it better than its start? icm train eval-rl {out} --judge FOLDER")


def _lines(found: HeadToHead) -> list[str]:
    own, other = found.sides
    by_length = (
        [f"where its response is longer: {found.win_rate_longer}; where it is not: {found.win_rate_not_longer}"]
        if not math.isnan(found.win_rate_longer.value)
        else []
    )
    return [
        f"{own.name} against {other.name}: wins {found.win_rate}, judged by {found.judge}, on "
        f"{counted(found.num_prompts, 'prompt')} with {counted(found.samples, 'response')} of each",
        *by_length,
        f"the judge's mean reward: {own.reward:+.2f} against {other.reward:+.2f}; tokens: {own.length:.1f} against "
        f"{other.length:.1f}",
    ]
