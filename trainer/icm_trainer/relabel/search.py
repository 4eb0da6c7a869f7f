"""The relabelling as a search: each round is a pass over all examples, which is answered by tuning.

    batches   rows without a label are labelled by a model that learns from all labelled before them
    rounds    the examples are dealt to folds; a model that learns from the labels outside a fold labels it

No label is judged by a model that has seen it: how well the answers of round r agree with the labels that it learnt
from is the evidence on these labels. What it answers are the labels of round r + 1, under the rules, with known labels
in their places and at the label rates. This is the scalable ICM of Wen et al. (version 2), and iterative fine-tuning.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from icm_annealer.core.arrays import Array, Ints
from icm_annealer.core.label_balance import LabelRates
from icm_annealer.core.objective import label_rates, margins, normalized
from icm_annealer.scoring.passes import PassRequest, PassResult
from icm_annealer.search.base import (
    Candidate,
    Problem,
    Result,
    Round,
    error_over_examples,
    insisted,
    lead_by_example,
)
from icm_trainer.relabel.settings import RelabelSettings

BATCH, FOLDS = "batch", "relabelling"
"""The purposes of the passes."""
SETTLED = 0.01
"""The share of changed labels at which the labels count as settled."""
MAX_DRIFT = 0.1
"""How far the share of a label may move from that at the start, if no rates are stated: models that are tuned on labels
with mistakes answer the commoner label too often."""
CLEAR = 2.0
"""Standard errors of a difference of U that is not chance."""
HELD = 1e4
"""Nats added to a label that a batch must not change: above all scores, below those of known labels."""
SURE = np.inf
"""The margin of a label at the start that came without one, and of a known label."""


class Labelled(NamedTuple):
    """Labels [example], -1 where there is none, and how many nats each is above the next best one."""

    labels: Ints
    margins: Array
    scores: Array | None
    """[example, label], in nats: those that the labels were chosen by; None for labels of the start."""


@dataclass(frozen=True)
class JudgedRound:
    """A round: what it learnt from, how well its answers agree with that, and what it proposes."""

    labels: Ints
    """[example]: those that it learnt from, and judged."""
    num_learnt: int
    """How many of them were trusted."""
    fold_agreement: Sequence[float]
    """By fold, the share of labels, without known ones, that the model of the other folds answers."""
    candidate: Candidate
    """The judged labels, with U and the scores that they were chosen by."""
    proposed: Labelled
    plain_rates: Array
    """[label]: its share in the models' answers as they are, before these are shifted to the label rates."""

    @property
    def u(self) -> float:
        return self.candidate.u

    @property
    def u_se(self) -> float:
        """Over the examples."""
        return mean_error(self.candidate)

    @property
    def agreement(self) -> float:
        return float(np.mean(self.fold_agreement))

    @property
    def change(self) -> float:
        """The share of examples that it proposes another label for."""
        return float(np.mean(self.proposed.labels != self.labels))


@dataclass(frozen=True)
class Relabelling(Result):
    """The result, with the evidence by round."""

    start: Ints = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    """[example]: the labels at the start, -1 where there was none."""
    batches: Sequence[Ints] = ()
    """Of each batch, the numbers of its examples."""
    rounds: Sequence[JudgedRound] = ()
    taken: int = 0
    """The number of the round, from 0, whose judged labels the result is, or settled from."""
    is_settled: bool = False
    lost: int | None = None
    """The number of a label that the last proposal lost; None if it lost none."""
    is_worse: bool = False
    """Whether the rounds ended because the last judged labels were clearly worse than earlier ones."""


Relabel = Generator[Round, list[PassResult], Relabelling]


def relabel(problem: Problem, start: Labelled, settings: RelabelSettings, seed: int) -> Relabel:
    """`start` has labels of at least two kinds. The units of `problem` are groups, which no fold cuts."""
    rng = np.random.default_rng(seed)
    first = _held(problem, start)
    rates = problem.rates or _about(label_rates(first.labels[first.labels >= 0], problem.num_labels))
    current, batches = yield from _extended(problem, first, rates, settings, rng)
    current = _without_contradictions(problem, current)
    rounds: list[JudgedRound] = []
    best, lost, is_settled, is_worse = 0, None, False, False
    for number in range(settings.rounds):
        judged = yield from _judged(problem, current, f"round {number}" if number else "start", rates, settings, rng)
        rounds.append(judged)
        if judged.u > rounds[best].u:
            best = number
        lead, error = lead_by_example(rounds[best].candidate, judged.candidate)
        is_worse = lead > CLEAR * error
        lost = _lost(rounds[0].labels, judged.proposed.labels, problem.num_labels, settings.folds)
        is_settled = judged.change <= SETTLED
        if is_worse or is_settled or lost is not None:
            break
        current = judged.proposed
    others = [one.candidate for number, one in enumerate(rounds) if number != best]
    winner = rounds[best].candidate
    is_settled = is_settled and best == len(rounds) - 1 and lost is None
    if is_settled:
        winner = _settled(rounds[best])
    found = [winner, *sorted(others, key=lambda one: -one.u)]
    return Relabelling(
        found,
        None,
        start=first.labels,
        batches=batches,
        rounds=rounds,
        taken=best,
        is_settled=is_settled,
        lost=lost,
        is_worse=is_worse,
    )


def mean_error(candidate: Candidate) -> float:
    """The standard error of U over the examples."""
    assert candidate.contributions is not None
    return error_over_examples(candidate.contributions)


def trusted(labels: Ints, margins_of: Array, share: float) -> Ints:
    """The numbers of the examples to learn from: of each label the most certain ones, at least one, in order."""
    kept: list[Ints] = []
    for label in np.unique(labels[labels >= 0]):
        rows = np.flatnonzero(labels == label)
        surest = rows[np.argsort(-margins_of[rows], kind="stable")]
        kept.append(surest[: int(np.ceil(share * len(rows)))])
    return np.sort(np.concatenate(kept))


def _about(rates: Array) -> LabelRates:
    """Rates within MAX_DRIFT of these."""
    return LabelRates(np.clip(rates - MAX_DRIFT, 0, 1), np.clip(rates + MAX_DRIFT, 0, 1))


def _held(problem: Problem, start: Labelled) -> Labelled:
    return Labelled(problem.held(start.labels), np.where(problem.is_known, SURE, start.margins), None)


def _extended(
    problem: Problem, current: Labelled, rates: LabelRates, settings: RelabelSettings, rng: np.random.Generator
) -> Generator[Round, list[PassResult], tuple[Labelled, list[Ints]]]:
    """Labels for all examples, batch by batch, and the batches."""
    units = [unit for unit in problem.units if (current.labels[unit] < 0).any()]
    batches = []
    for batch in _batches(problem, [units[k] for k in rng.permutation(len(units))], settings.batches):
        queries = batch[current.labels[batch] < 0]
        hidden = _hidden(current, settings.trust)
        order = np.arange(len(problem.units))
        request = PassRequest(current.labels, queries, order, problem.plan, BATCH, hidden=hidden)
        (answer,) = yield from insisted([request])
        current = _with_batch(problem, current, queries, normalized(answer.logprobs), rates)
        batches.append(queries)
    return current, batches


def _batches(problem: Problem, units: Sequence[Ints], num: int) -> list[Ints]:
    """The examples of `units` in at most `num` parts, each of which multiplies what is labelled by the same factor."""
    if not units:
        return []
    left = sum(map(len, units))
    before = max(1, problem.num_examples - left)
    factor = (problem.num_examples / before) ** (1 / num)
    parts: list[list[Ints]] = [[]]
    size, part = before, 1
    for unit in units:
        if size >= before * factor**part and part < num:
            part += 1
            parts.append([])
        parts[-1].append(unit)
        size += len(unit)
    return [np.sort(np.concatenate(one)) for one in parts if one]


def _with_batch(problem: Problem, current: Labelled, queries: Ints, scores: Array, rates: LabelRates) -> Labelled:
    """The labels with those of a batch, whose `scores` [query, label] are shifted to the label rates. The rules see the
    labels before as fixed."""
    is_there = current.labels >= 0
    all_scores = np.where(is_there[:, None], HELD * np.eye(problem.num_labels)[current.labels], 0.0)
    all_scores[queries] = scores + rates.shifts(scores)
    found = problem.consistency.best(all_scores)
    labels, surer = current.labels.copy(), current.margins.copy()
    labels[queries] = found[queries]
    surer[queries] = margins(all_scores[queries], found[queries])
    kept = np.full(all_scores.shape, np.nan) if current.scores is None else current.scores.copy()
    kept[queries] = all_scores[queries]
    return Labelled(labels, surer, kept)


def _without_contradictions(problem: Problem, current: Labelled) -> Labelled:
    """Of labels that break a rule, the most certain ones are kept and others made to agree with them."""
    if not problem.consistency.num_contradictions(current.labels):
        return current
    weights = np.clip(current.margins, 0, HELD)
    weights = np.where(problem.is_known, HELD**2, np.where(np.isinf(current.margins), 1.0, weights))
    labels = problem.consistency.best(weights[:, None] * np.eye(problem.num_labels)[current.labels])
    return current._replace(labels=labels, margins=np.where(labels == current.labels, current.margins, 0.0))


def _hidden(current: Labelled, share: float) -> tuple[int, ...]:
    there = np.flatnonzero(current.labels >= 0)
    return tuple(np.setdiff1d(there, trusted(current.labels, current.margins, share)).tolist())


def _judged(
    problem: Problem,
    current: Labelled,
    name: str,
    rates: LabelRates,
    settings: RelabelSettings,
    rng: np.random.Generator,
) -> Generator[Round, list[PassResult], JudgedRound]:
    """The round that judges `current`, whose candidate gets this name."""
    order = _dealt(problem, current.labels, settings.folds, rng)
    hidden = _hidden(current, settings.trust)
    request = PassRequest(current.labels, problem.all_examples, order, problem.plan, FOLDS, hidden=hidden)
    (answer,) = yield from insisted([request])
    folds = folds_of(problem.units, order, settings.folds)
    scores = normalized(answer.logprobs)
    plain = label_rates(scores.argmax(axis=1), problem.num_labels)
    for fold in folds:  # each model has a bias of its own
        scores[fold] += rates.shifts(scores[fold])
    scores = problem.with_rates(scores)
    labels = problem.best(scores)
    surer = np.where(problem.is_known, SURE, margins(scores, labels))
    u = problem.u(answer, current.labels, order)
    contributions = problem.contributions(answer, current.labels, order)
    chosen_by = _filled(current, answer.logprobs)
    candidate = Candidate((name,), current.labels, u, answer.logprobs, [u], chosen_by, contributions)
    answers = scores.argmax(axis=1)
    by_fold = []
    for fold in folds:
        free = fold[~problem.is_known[fold]]
        if len(free):
            by_fold.append(float(np.mean(answers[free] == current.labels[free])))
    return JudgedRound(
        current.labels,
        problem.num_examples - len(hidden),
        by_fold or [1.0],
        candidate,
        Labelled(labels, surer, scores),
        plain,
    )


def _filled(current: Labelled, logprobs: Array) -> Array | None:
    """The scores that the labels were chosen by; for those of the start, which have none, the answers that judge
    them."""
    if current.scores is None:
        return None
    is_missing = np.isnan(current.scores)
    return np.where(is_missing, normalized(logprobs), current.scores)


def _settled(judged: JudgedRound) -> Candidate:
    """What the round proposes, which hardly differs from what it judged."""
    return replace(judged.candidate, labels=judged.proposed.labels, scores=judged.proposed.scores)


def _dealt(problem: Problem, labels: Ints, num_folds: int, rng: np.random.Generator) -> Ints:
    """A random order of the units in which each fold has about the same share of every label."""
    drawn = rng.permutation(len(problem.units))
    by_label = sorted(drawn.tolist(), key=lambda unit: int(labels[problem.units[unit][0]]))
    return np.array([unit for fold in range(num_folds) for unit in by_label[num_folds - 1 - fold :: num_folds]])


def folds_of(units: Sequence[Ints], order: Ints, num_folds: int) -> list[Ints]:
    """The examples of each fold of an order of units; of two folds the halves that `Problem.contexts` numbers."""
    ends = [len(order) * number // num_folds for number in range(num_folds + 1)]
    parts = [order[first:last] for first, last in pairwise(ends)]
    return [np.sort(np.concatenate([units[unit] for unit in part])) for part in parts if len(part)]


def _lost(before: Ints, after: Ints, num_labels: int, num_folds: int) -> int | None:
    """A label of which too few are left for every fold to have one."""
    counts = [np.bincount(labels, minlength=num_labels) for labels in (before, after)]
    gone = np.flatnonzero((counts[1] < num_folds) & (counts[0] >= num_folds))
    return int(gone[0]) if len(gone) else None
