"""The whole story in one folder: labels, reward models, policies, and who wins; and its page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2

from icm_annealer.core.estimate import Estimate
from icm_annealer.reporting.evaluation_table import format_figure
from icm_annealer.reporting.report import templates
from icm_annealer.runs.directory import RunDir
from icm_annealer.runs.record import RunRecord
from icm_annealer.runs.schema.base import read_file
from icm_trainer.rl.head_to_head import HeadToHead, evaluation_file, read_evaluation
from icm_trainer.rl.record import RlRecord, UsedPrompt, read_used_prompts
from icm_trainer.rm.judged import EVALUATION, RmEvaluation
from icm_trainer.rm.record import RmRecord
from icm_trainer.sft.record import read_record

LABELS, JUDGE, PAGE = "labels", "judge", "assistant.html"


@dataclass(frozen=True)
class Branch:
    """One origin of labels of the same examples."""

    suffix: str
    what: str
    """For a person."""
    field: str | None = None
    from_gold: bool = False

    @property
    def options(self) -> str:
        """Of `icm train rm`, behind the folder of the run."""
        return " --from-gold" if self.from_gold else f" --field {self.field}" if self.field is not None else ""


def branches(people: str | None, *, has_gold: bool) -> Iterator[Branch]:
    """The run's own labels first; those of people, in this field; gold."""
    yield Branch("", "the labels found")
    if people is not None:
        yield Branch("-people", "people's labels", field=people)
    if has_gold:
        yield Branch("-gold", "gold labels", from_gold=True)


def reward_folder(out: Path, branch: Branch) -> Path:
    return out / f"reward{branch.suffix}"


def policy_folder(out: Path, branch: Branch) -> Path:
    return out / f"policy{branch.suffix}"


@dataclass(frozen=True)
class Chapter:
    """What came of one origin of labels."""

    branch: Branch
    reward: RmRecord
    tested: Estimate | None
    """The reward model's accuracy on pairs of rows that were not labelled."""
    policy: RlRecord
    prompts: list[UsedPrompt]
    against_start: HeadToHead | None
    against_first: HeadToHead | None
    """The first policy against this one."""

    @property
    def summary(self) -> dict[str, object]:
        """For programs."""
        start, first = self.against_start, self.against_first
        return {
            "by": self.branch.what,
            "reward_accuracy": self.tested and self.tested.to_dict(),
            "kl": self.policy.kept.figures["kl"],
            "length": self.policy.kept.figures["length"],
            "wins_over_start": start and start.win_rate.to_dict(),
            "first_wins_over_it": first and first.win_rate.to_dict(),
        }


def chapters(out: Path, there: Sequence[Branch]) -> list[Chapter]:
    """Reads the folders of the stages. Raises RequestError if one did not end."""
    first = policy_folder(out, there[0])
    found = []
    for branch in there:
        reward, policy = reward_folder(out, branch), policy_folder(out, branch)
        tested = read_file(reward / EVALUATION, RmEvaluation)
        found.append(
            Chapter(
                branch,
                read_record(reward, RmRecord),
                tested.figures["tuned"].accuracy if tested else None,
                read_record(policy, RlRecord),
                [one for one in read_used_prompts(policy) if one.shown],
                read_evaluation(evaluation_file(policy, None)),
                read_evaluation(evaluation_file(first, policy)),
            )
        )
    return found


def write_story(out: Path, there: Sequence[Branch]) -> Path:
    """Writes the page into the folder. It loads nothing from elsewhere."""
    shared = templates()
    own = jinja2.PackageLoader("icm_trainer.rl")
    loaders = jinja2.ChoiceLoader([own, *([shared.loader] if shared.loader else [])])
    run = RunRecord.read(out / LABELS)
    text = (
        shared.overlay(loader=loaders)
        .get_template("assistant.html")
        .render(
            name=out.resolve().name,
            run=run,
            chapters=chapters(out, there),
            folder=lambda branch: policy_folder(Path(), branch).as_posix(),
            format_figure=format_figure,
        )
    )
    return RunDir(out).write_text(PAGE, text)
