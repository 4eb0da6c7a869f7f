"""`icm assistant`: labels, reward models, policies and comparisons, by the commands that make each of them.

It keeps no state of its own: what is done is seen in the folders of the stages.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from icm_annealer.cli.run import run
from icm_annealer.cli.shared.options import (
    AllowCodeOption,
    DataOption,
    EngineOption,
    KeyOption,
    ScorerModelOption,
    ScorerOption,
    WaitOption,
    stages,
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
from icm_annealer.data.task import Task, load_task
from icm_annealer.evaluation.run_evaluation import not_labelled
from icm_annealer.runs.atomic_write import make_folder
from icm_annealer.runs.directory import JOURNAL, RunDir
from icm_annealer.runs.gold import read_again
from icm_annealer.runs.record import RunRecord
from icm_annealer.runs.schema.base import read_file
from icm_annealer.scorers.kind import DEFAULT_ENGINE
from icm_annealer.scorers.registry import DEFAULT_SCORER
from icm_client.contract.errors import RequestError
from icm_trainer.cli.options import CACHE, CacheOption, DeviceOption, prepare_torch
from icm_trainer.cli.rl import PolicyBaseOption, PromptsOption, StepsOption, StopOption, TokensOption, eval_rl, rl
from icm_trainer.cli.rm import BetterOption, PairingOption, ResponseOption, eval_rm, rm
from icm_trainer.cli.training_options import CutOption, TextTokensOption, ThreadsOption, base_model
from icm_trainer.models.device import chosen_device
from icm_trainer.rl.earlier_story import replacing
from icm_trainer.rl.head_to_head import evaluation_file, read_evaluation
from icm_trainer.rl.job import reward_record
from icm_trainer.rl.story import JUDGE, LABELS, Branch, branches, chapters, policy_folder, reward_folder, write_story
from icm_trainer.rl.story_checks import StoryChecks
from icm_trainer.rm.judged import EVALUATION, RmEvaluation, gold_pairs
from icm_trainer.rm.pairing import PairOptions
from icm_trainer.rm.record import RmRecord
from icm_trainer.sft.record import TRAINING, read_record
from icm_trainer.sft.settings import SftSettings
from icm_trainer.sft.sources import LabelOptions

OTHER_ROWS = "other-rows.jsonl"
"""The rows that were not labelled, with gold: the judge learns from them, and reward models are tested on them."""


class _TextLimit(NamedTuple):
    """What becomes of long texts."""

    tokens: int | None
    cut: bool

    @property
    def options(self) -> str:
        """Of `icm train rm`."""
        tokens = "" if self.tokens is None else f" --text-tokens {self.tokens}"
        return tokens + " --cut" * self.cut


class _Story(NamedTuple):
    """What every stage is given."""

    out: Path
    task: str
    data: str | None
    quiet: bool
    seed: int
    device: str
    threads: int | None
    cache: Path
    allow_code: bool
    how: PairOptions
    texts: _TextLimit
    resume: bool
    overwrite: bool

    def resumes(self, folder: Path) -> bool:
        return self.resume and (folder / TRAINING).is_file()


def assistant(
    task: Annotated[str, typer.Argument(metavar="TASK", help="A built-in task or a task file.")],
    out: Annotated[Path, out_folder("everything: a folder for each stage, and the report")],
    scorer: ScorerOption = DEFAULT_SCORER,
    data: DataOption = None,
    first: FirstOption = None,
    people: Annotated[
        str | None,
        typer.Option(
            "--people", metavar="FIELD", help="Do the same with the labels that people wrote into this field."
        ),
    ] = None,
    judge: Annotated[
        Path | None,
        typer.Option(
            "--judge",
            metavar="FOLDER",
            help="A reward model (icm train rm) that took no part.",
            show_default="made of the gold labels of rows that were not labelled",
        ),
    ] = None,
    pairs: PairingOption = None,
    better: BetterOption = None,
    response: ResponseOption = None,
    base: PolicyBaseOption = None,
    prompts: PromptsOption = None,
    steps: StepsOption = 40,
    tokens: TokensOption = 32,
    stop: StopOption = "",
    text_tokens: TextTokensOption = None,
    cut: CutOption = False,
    seed: SeedOption = 0,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    engine: EngineOption = DEFAULT_ENGINE,
    scorer_model: ScorerModelOption = None,
    api_key_file: KeyOption = None,
    wait: WaitOption = None,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    cache: CacheOption = CACHE,
    allow_code: AllowCodeOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """From a task to an assistant: find labels, make a reward model of them, train a policy by it, and compare.

    The same is done with the labels of people (--people) and with gold labels of the same examples, where the task has
    them; a judge that took no part says which policy is better. Every stage is the command of its own that it names,
    with that command's defaults, and its folder in OUT can be used alone. OUT/assistant.html reports all of them.

    Example: icm assistant my_task.yaml --people annotator --first 200 --stop "\\n" --out runs/story
    """
    prepare_torch("icm assistant")
    output = Output(quiet=quiet, as_json=as_json)
    own = load_task(task, allow_code=allow_code).task
    labels = out / LABELS
    if not (resume or overwrite) and (labels / JOURNAL).is_file():
        raise RequestError(f"{out} already holds an assistant: use --resume to continue, or --overwrite to replace it")
    how = PairOptions(kind=pairs, better=better, response=response)
    texts = _TextLimit(text_tokens, cut)
    story = _Story(out, task, data, quiet, seed, device, threads, cache, allow_code, how, texts, resume, overwrite)
    task_file = task if Path(task).exists() else None
    checks = StoryChecks(judge, base, prompts or data, task_file, tokens, cache, output.inform)
    checks.before_labels()
    make_folder(out)
    # With --json, what the stages print is not the result.
    aside = contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext()
    with aside, stages(output, f"icm assistant {task} ... --out {out} --resume"):
        output.inform(f"Labels: icm run --task {task} --out {labels}")
        is_begun = resume and (labels / JOURNAL).is_file()
        there = list(branches(people, has_gold=own.gold is not None))
        with replacing(out, there) if overwrite and not resume else contextlib.nullcontext():
            run(
                task,
                labels,
                scorer,
                data,
                first=first,
                seed=seed,
                engine=engine,
                scorer_model=scorer_model,
                api_key_file=api_key_file,
                wait=wait,
                resume=is_begun,
                overwrite=overwrite,
                allow_code=allow_code,
                quiet=quiet,
            )
        others = _other_rows(story, own, labels, output) if judge is None and own.gold is not None else None
        found = LabelOptions(str(labels), task, data, allow_code=allow_code)
        given = {one.what: found._replace(from_gold=one.from_gold, field=one.field) for one in there}
        if others is not None:
            given["the judge's labels"] = LabelOptions(str(others), task, from_gold=True, allow_code=allow_code)
        model = base_model(None, found, cache, output.inform)
        settings = SftSettings.of(chosen_device(device), max_tokens=text_tokens, cut=cut)
        checks.before_trainings(given, how, model, settings)
        for branch in there:
            folder = reward_folder(out, branch)
            options = f"{branch.options}{texts.options}"
            output.inform(f"Reward model of {branch.what}: icm train rm {labels}{options} --out {folder}")
            _reward(story, labels, folder, branch.field, from_gold=branch.from_gold)
        if others is not None:
            judge = _judge(story, others, there, model.name, output)
        for branch in there:
            folder = policy_folder(out, branch)
            output.inform(f"Policy by it: icm train rl {reward_folder(out, branch)} --out {folder}")
            rl(
                reward_folder(out, branch),
                folder,
                prompts or data,
                task_file,
                base=base,
                steps=steps,
                tokens=tokens,
                stop=stop,
                seed=seed,
                device=device,
                threads=threads,
                resume=story.resumes(folder),
                overwrite=overwrite,
                cache=cache,
                allow_code=allow_code,
                quiet=quiet,
            )
        if judge is None:
            output.warn(
                "no --judge, and no other rows with gold: nothing says whether the policy is better than its start"
            )
        else:
            judge_digest = reward_record(judge, read_record(judge, RmRecord)).digest
            for policy, other in _matches(out, there):
                file = evaluation_file(policy, other)
                there_is = read_evaluation(file) if resume else None
                if there_is is None or there_is.judge_digest != judge_digest:
                    eval_rl(policy, other, judge, seed=seed, device=device, cache=cache, quiet=quiet)
    page = write_story(out, there)
    output.say(f"Report: {page}")
    output.json({"folder": out, "page": page, "policies": [one.summary for one in chapters(out, there)]})


def _reward(
    story: _Story,
    labels: Path,
    folder: Path,
    field: str | None,
    *,
    from_gold: bool,
    base: str | None = None,
) -> None:
    rm(
        str(labels),
        folder,
        story.task,
        story.data,
        from_gold,
        field,
        pairs=story.how.kind,
        better=story.how.better,
        response=story.how.response,
        base=base,
        text_tokens=story.texts.tokens,
        cut=story.texts.cut,
        seed=story.seed,
        device=story.device,
        threads=story.threads,
        resume=story.resumes(folder),
        overwrite=story.overwrite,
        cache=story.cache,
        allow_code=story.allow_code,
        quiet=story.quiet,
    )


def _other_rows(story: _Story, own: Task, labels: Path, output: Output) -> Path | None:
    """Writes the rows that were not labelled and have gold; None if there are none."""
    again = read_again(RunRecord.read(labels), story.task, story.data, allow_code=story.allow_code)
    rest = not_labelled(again.data, again.examples) if again.data else []
    gold = again.data.gold if again.data else {}
    rows = [{**one.fields, str(own.gold): gold[one.id]} for one in rest if one.id in gold]
    if not rows:
        output.note("all rows were labelled, so none is left for a judge: label fewer with --first, or name --judge")
        return None
    return RunDir(story.out).write_text(OTHER_ROWS, "".join(json.dumps(row) + "\n" for row in rows))


def _judge(story: _Story, rows: Path, there: list[Branch], base: str, output: Output) -> Path:
    """A reward model of the gold labels of these rows, made of the same model as the others, which are tested on
    them."""
    folder = story.out / JUDGE
    output.inform(f"Judge: icm train rm {rows} --task {story.task} --from-gold{story.texts.options} --out {folder}")
    _reward(story._replace(data=None), rows, folder, None, from_gold=True, base=base)
    for branch in there:
        reward = reward_folder(story.out, branch)
        tested = read_file(reward / EVALUATION, RmEvaluation) if story.resume else None
        if tested is None or tested.test != gold_pairs(str(rows)):
            eval_rm(
                reward,
                str(rows),
                story.task,
                device=story.device,
                cache=story.cache,
                allow_code=story.allow_code,
                quiet=story.quiet,
            )
    return folder


def _matches(out: Path, there: list[Branch]) -> Iterator[tuple[Path, Path | None]]:
    """Each policy against its start, and the first against each other one."""
    folders = [policy_folder(out, branch) for branch in there]
    for folder in folders:
        yield folder, None
    for other in folders[1:]:
        yield folders[0], other
