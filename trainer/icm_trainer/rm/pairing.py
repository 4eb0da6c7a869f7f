"""How labelled examples become pairs: of the two responses that an example compares, of the members of a group, or of
any two examples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from icm_annealer.core.arrays import Array
from icm_annealer.data.examples import Example, groups_of
from icm_annealer.data.task import Task
from icm_annealer.data.template import escaped, filled, template_fields
from icm_annealer.export.reading import Reading, better_label, reading
from icm_annealer.runs.schema.base import Record
from icm_client.contract.errors import RequestError
from icm_trainer.rm.pairs import Pair
from icm_trainer.sft.labelled import LabelledExample

MAX_PAIRS = 16
"""The most pairs of one group: of those with the most certain labels."""
BLOCK = 2
"""Examples of the scarcer label in a block, where there are no groups: each is in as many pairs, or more."""
RESPONSE = "response"
ENDING, GOOD, BAD = "\nThis response is", "good", "bad"

Rewards = Callable[[Sequence[str]], Array]
"""The rewards [text] of texts as the model reads them."""


class Pairing(Protocol):
    """Makes pairs of examples of one task."""

    @property
    def form(self) -> Task:
        """What the texts of the pairs look like, and the labels behind them."""
        ...

    @property
    def better(self) -> str:
        """The label of the form that says that a text is good."""
        ...

    def by_labels(self, rows: Sequence[LabelledExample]) -> list[Pair]:
        """The pairs that labels tell."""
        ...

    def by_rewards(self, examples: Sequence[Example], rewards: Rewards, share: float) -> list[Pair]:
        """The pairs that rewards tell of examples without labels, of which about a `share` is good."""
        ...

    def texts(self, examples: Sequence[Example]) -> list[str]:
        """All that a reward model reads of these examples."""
        ...


@dataclass(frozen=True)
class Responses:
    """Of the two responses that an example compares, the better one is chosen. A pair and its mirror are one; if they
    contradict each other, none."""

    task: Task
    reading: Reading

    @cached_property
    def form(self) -> Task:
        template = f"{self.reading.prompt}{escaped(self.reading.lead)}{{{RESPONSE}}}{ENDING}"
        return Task(
            name=f"{self.task.name}-responses"[:100],
            template=template,
            separator=self.task.separator,
            labels={GOOD: f" {GOOD}", BAD: f" {BAD}"},
            special_tokens=self.task.special_tokens,
        )

    better = GOOD

    def by_labels(self, rows: Sequence[LabelledExample]) -> list[Pair]:
        found: dict[tuple[str, str], Example] = {}
        for row in rows:
            first, second = self._texts(row.example)
            chosen = (first, second) if row.label == self.reading.better else (second, first)
            if first != second:
                found.setdefault(chosen, row.example)
        return [
            Pair(chosen=good, rejected=bad, group=self._group(example))
            for (good, bad), example in found.items()
            if (bad, good) not in found
        ]

    def by_rewards(self, examples: Sequence[Example], rewards: Rewards, share: float) -> list[Pair]:
        compared = {frozenset(texts): (texts, example) for example in examples for texts in [self._texts(example)]}
        both = [(texts, example) for texts, example in compared.values() if texts[0] != texts[1]]
        found = rewards([text for texts, _ in both for text in texts]).reshape(-1, 2)
        return [
            Pair(chosen=texts[int(second > first)], rejected=texts[int(second < first)], group=self._group(example))
            for (texts, example), (first, second) in zip(both, found, strict=True)
            if first != second
        ]

    def texts(self, examples: Sequence[Example]) -> list[str]:
        return [text for example in examples for text in self._texts(example)]

    def _texts(self, example: Example) -> tuple[str, str]:
        """Raises RequestError for a field that the row lacks."""
        self.reading.prompt_of(example)
        self.reading.responses_of(example)
        first, second = (
            filled(self.form.template, example.fields | {RESPONSE: example.fields[field]})
            for field in self.reading.responses
        )
        return first, second

    def _group(self, example: Example) -> str:
        """Comparisons of the same prompt belong together, whatever their groups."""
        prompt = self.reading.prompt_of(example)
        return prompt if prompt.strip() else str(example.group or example.id)


@dataclass(frozen=True)
class Groups:
    """Each good example of a group is chosen over each other one."""

    form: Task
    better: str

    def by_labels(self, rows: Sequence[LabelledExample]) -> list[Pair]:
        groups = [[rows[number] for number in group] for group in groups_of([row.example for row in rows])]
        return [pair for group in groups for pair in _pairs_of(group, self.better, str(group[0].example.group))]

    def by_rewards(self, examples: Sequence[Example], rewards: Rewards, share: float) -> list[Pair]:
        """The highest reward of a group over the lowest: how many of the others are good is not known."""
        values, pairs = rewards(self.texts(examples)), []
        for group in groups_of(examples):
            best, worst = max(group, key=lambda k: values[k]), min(group, key=lambda k: values[k])
            chosen, rejected = examples[best].text, examples[worst].text
            if values[best] > values[worst] and chosen != rejected:
                pairs.append(Pair(chosen=chosen, rejected=rejected, group=str(examples[best].group)))
        return pairs

    def texts(self, examples: Sequence[Example]) -> list[str]:
        return [example.text for example in examples]


@dataclass(frozen=True)
class AnyExamples:
    """Examples of the good label are chosen over others of their block; blocks are drawn at random."""

    form: Task
    better: str
    seed: int = 0

    def by_labels(self, rows: Sequence[LabelledExample]) -> list[Pair]:
        rng = np.random.default_rng([self.seed, 2])
        drawn = [rows[number] for number in rng.permutation(len(rows))]
        good = [row for row in drawn if row.label == self.better]
        others = [row for row in drawn if row.label != self.better]
        num = max(1, min(len(good), len(others)) // BLOCK)
        blocks = ([*good[number::num], *others[number::num]] for number in range(num))
        return [
            pair
            for number, block in enumerate(blocks)
            for pair in _pairs_of(block, self.better, f"{block[0].example.id}-{number}")
        ]

    def by_rewards(self, examples: Sequence[Example], rewards: Rewards, share: float) -> list[Pair]:
        """The share with the highest rewards is taken to be good."""
        order = np.argsort(-rewards(self.texts(examples)), kind="stable")
        good = set(order[: round(share * len(examples))].tolist())
        other = next(name for name in self.form.label_names if name != self.better)
        return self.by_labels(
            [LabelledExample(one, self.better if k in good else other) for k, one in enumerate(examples)]
        )

    def texts(self, examples: Sequence[Example]) -> list[str]:
        return [example.text for example in examples]


def _pairs_of(members: Sequence[LabelledExample], better: str, group: str) -> Iterator[Pair]:
    """Good over others, at most MAX_PAIRS, those with the most certain labels."""

    def certainty(*rows: LabelledExample) -> float:
        return min(1.0 if row.certainty is None else row.certainty for row in rows)

    # A pair is as certain as the less certain of its labels, so the best pairs are among the best of both.
    ranked = sorted(members, key=certainty, reverse=True)
    good = [row for row in ranked if row.label == better][:MAX_PAIRS]
    others = [row for row in ranked if row.label != better][:MAX_PAIRS]
    both = [(one, other) for one in good for other in others if one.example.text != other.example.text]
    for one, other in sorted(both, key=lambda pair: certainty(*pair), reverse=True)[:MAX_PAIRS]:
        yield Pair(chosen=one.example.text, rejected=other.example.text, group=group)


class PairOptions(Record):
    """How pairs are made, as a user names it; None for what follows from the task."""

    kind: str | None = None
    """A name of PAIRINGS."""
    better: str | None = None
    prompt: str | None = None
    response: str | None = None


def _responses(task: Task, examples: Sequence[Example], options: PairOptions) -> Pairing:
    found = reading(task, examples, options.prompt, options.response, options.better)
    if len(found.responses) != 2:
        raise RequestError("name the two fields that an example compares with --response FIELD,FIELD")
    if RESPONSE in template_fields(found.prompt):
        raise RequestError(f"the field {RESPONSE!r} of the prompt has the name that stands for the response: rename it")
    return Responses(task, found)


def _groups(task: Task, examples: Sequence[Example], options: PairOptions) -> Pairing:
    if task.group is None:
        raise RequestError(f"the task {task.name!r} has no groups: use --pairing examples")
    return Groups(task, better_label(task, options.better))


def _examples(task: Task, examples: Sequence[Example], options: PairOptions) -> Pairing:
    return AnyExamples(task, better_label(task, options.better))


PAIRINGS: Mapping[str, Callable[[Task, Sequence[Example], PairOptions], Pairing]] = {
    "responses": _responses,
    "groups": _groups,
    "examples": _examples,
}


def pairing_of(task: Task, examples: Sequence[Example], options: PairOptions) -> Pairing:
    """The pairing by the options: by default of responses where a rule compares two, else of groups where there are
    any, else of examples. Raises RequestError."""
    compares = any(rule.traits.compares_two for rule in task.rules) or options.response is not None
    kind = options.kind or ("responses" if compares else "groups" if task.group is not None else "examples")
    if kind not in PAIRINGS:
        raise RequestError(f"--pairing {kind}: choose one of {', '.join(PAIRINGS)}")
    return PAIRINGS[kind](task, examples, options)
