"""Labels as judgements of responses: a response is good or not, or better than another one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from icm_annealer.export.labelled import Labelled
from icm_annealer.export.reading import Reading
from icm_client.text.counts import counted

MAX_PAIRS = 16
"""The most pairs of one group; the most certain ones are kept."""


class ResponsePair(NamedTuple):
    """Two responses to one prompt, of which `chosen` was found the better one."""

    prompt: str
    chosen: str
    rejected: str


class Judgement(NamedTuple):
    """One response to a prompt, and whether it was found good."""

    prompt: str
    completion: str
    label: bool


class Paired(NamedTuple):
    """What was made of the labels, and what could not be used, for a person to read."""

    pairs: list[ResponsePair]
    notes: list[str]


def judgements(labelled: Sequence[Labelled], reading: Reading) -> list[Judgement]:
    """Every response with its judgement; of two that were compared, one is good and the other is not."""
    if len(reading.responses) == 2:
        pairs = judged_pairs(labelled, reading).pairs
        return [
            Judgement(pair.prompt, completion, label)
            for pair in pairs
            for completion, label in ((pair.chosen, True), (pair.rejected, False))
        ]
    return [
        Judgement(reading.prompt_of(example), reading.responses_of(example)[0], row.label == reading.better)
        for example, row, _ in labelled
    ]


def judged_pairs(labelled: Sequence[Labelled], reading: Reading) -> Paired:
    """Pairs from examples that compare two responses, or else of each good with each other response of a group."""
    return _compared(labelled, reading) if len(reading.responses) == 2 else _within_groups(labelled, reading)


def _compared(labelled: Sequence[Labelled], reading: Reading) -> Paired:
    """One pair for an example and its mirror; none if they contradict each other."""
    found: dict[ResponsePair, None] = {}
    for example, row, _ in labelled:
        first, second = reading.responses_of(example)
        chosen, rejected = (first, second) if row.label == reading.better else (second, first)
        if chosen != rejected:
            found[ResponsePair(reading.prompt_of(example), chosen, rejected)] = None
    pairs = [pair for pair in found if ResponsePair(pair.prompt, pair.rejected, pair.chosen) not in found]
    lost = (len(found) - len(pairs)) // 2
    return Paired(
        pairs, [f"{counted(lost, 'pair')} left out: one order was labelled against the other"] if lost else []
    )


def _within_groups(labelled: Sequence[Labelled], reading: Reading) -> Paired:
    groups: dict[str, list[Labelled]] = {}
    for one in labelled:
        if one.example.group is not None:
            groups.setdefault(one.example.group, []).append(one)
    pairs: list[ResponsePair] = []
    num_alike = num_cut = 0
    for members in groups.values():
        found = list(dict.fromkeys(_pairs_of(members, reading)))
        num_alike += not found
        num_cut += max(0, len(found) - MAX_PAIRS)
        pairs += found[:MAX_PAIRS]
    notes = []
    if num_alike:
        notes.append(
            f"no pair from {num_alike:,} of {counted(len(groups), 'group')}: a good label, or another one, is missing"
        )
    if num_cut:
        notes.append(
            f"{counted(num_cut, 'pair')} left out: more than {MAX_PAIRS} of a group, the least certain of them"
        )
    return Paired(pairs, notes)


def _pairs_of(members: Sequence[Labelled], reading: Reading) -> Iterator[ResponsePair]:
    """The most certain first: a pair is as certain as the less certain of its labels."""
    good = [one for one in members if one.row.label == reading.better]
    others = [one for one in members if one.row.label != reading.better]
    both = [(one, other) for one in good for other in others]
    for one, other in sorted(both, key=lambda pair: min(pair[0].row.rank, pair[1].row.rank), reverse=True):
        chosen, rejected = reading.responses_of(one.example)[0], reading.responses_of(other.example)[0]
        if chosen != rejected:
            yield ResponsePair(reading.prompt_of(one.example), chosen, rejected)
