"""The rounds, with answers that follow a script in place of trainings: what is taken, and what is not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from tests.finished import PAIRS
from tests.labelled import TASK, planted_labels

from icm_annealer.core.arrays import Array, Ints
from icm_annealer.core.objective import Objective
from icm_annealer.data.examples import Example
from icm_annealer.data.given_labels import GivenLabels
from icm_annealer.data.task import Task
from icm_annealer.scoring.passes import PassRequest, PassResult
from icm_annealer.scoring.prefix_plan import PlanKind
from icm_annealer.search.base import Problem
from icm_annealer.search.driver import drive
from icm_annealer.search.problem import problem_of
from icm_client.text.strict_yaml import read_yaml
from icm_trainer.relabel.alarms import alarms_of
from icm_trainer.relabel.search import MAX_DRIFT, SURE, Labelled, Relabelling, relabel
from icm_trainer.relabel.settings import RelabelSettings
from icm_trainer.relabel.tuned_passes import parts_of
from icm_trainer.sft.settings import SftSettings

NUM = 80
GOLD = planted_labels(NUM).labels
SURENESS = 3.0
Answer = Callable[[PassRequest], Array]
"""The logits [example, label] of a pass."""


def problem_for(task: Task = TASK, known: dict[str, str] | None = None) -> Problem:
    rows = [row.example for row in planted_labels(NUM).rows]
    if task.group is not None:
        rows = [Example(one.id, one.text, one.fields["pair"], one.fields) for one in rows]
    problem = problem_of(task, rows, Objective(), PlanKind("folds", 2), GivenLabels(known or {}))
    return replace(problem, units=problem.consistency.groups)


def answers_of(labels: Ints) -> Array:
    """Logits that are SURENESS nats in favour of `labels`."""
    return SURENESS * np.eye(2)[labels]


def relabelled(
    answer: Answer,
    start: Ints,
    *,
    problem: Problem | None = None,
    seen: list[PassRequest] | None = None,
    **settings: object,
) -> Relabelling:
    class Scripted:
        async def score(self, request: PassRequest) -> PassResult:
            if seen is not None:
                seen.append(request)
            logits = answer(request)[request.queries]
            return PassResult(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))

    problem = problem or problem_for()
    chosen = RelabelSettings.model_validate({"sft": SftSettings.of("cpu"), "rounds": 3, **settings})
    search = relabel(problem, Labelled(start, np.full(NUM, SURE), None), chosen, seed=0)
    found = asyncio.run(drive(search, problem, Scripted())).result
    assert isinstance(found, Relabelling)
    return found


def flipped(labels: Ints, share: float, seed: int = 0) -> Ints:
    return np.where(np.random.default_rng(seed).random(NUM) < share, 1 - labels, labels)


def test_labels_that_settle_are_taken_and_judged_by_models_that_have_not_seen_them() -> None:
    seen: list[PassRequest] = []
    start = flipped(GOLD, 0.2)
    found = relabelled(lambda request: answers_of(GOLD), start, seen=seen)
    assert (found.winner.labels == GOLD).all()
    assert found.is_settled
    assert len(found.rounds) == 2
    assert found.rounds[0].agreement == np.mean(start == GOLD)
    assert found.rounds[1].agreement == 1.0
    for request in seen:
        parts = parts_of(request, problem_for().units)
        assert sorted(np.concatenate([part.labelled for part in parts])) == list(range(NUM))
        for part in parts:
            assert not set(part.learnt) & set(part.labelled)
            assert abs(request.labels[part.labelled].mean() - request.labels.mean()) < 0.05


def test_a_round_that_gets_worse_is_not_taken() -> None:
    """The first round proposes noise, which the second judges."""
    proposed = flipped(GOLD, 0.4)

    def answer(request: PassRequest) -> Array:
        is_first = (request.labels == GOLD).all()
        return answers_of(np.where(np.arange(NUM) % 8 > 0, GOLD, proposed) if is_first else flipped(GOLD, 0.5, 1))

    found = relabelled(answer, GOLD)
    assert found.is_worse
    assert found.taken == 0
    assert (found.winner.labels == GOLD).all()
    assert found.rounds[1].u < found.rounds[0].u
    assert [one.code for one in alarms_of(problem_for(), found, ["hot", "cool"])] == ["round-worse"]


def test_a_label_neither_vanishes_nor_drifts() -> None:
    """Models that answer one label for nearly everything: rates are held near those at the start, where none are
    stated, and a label that hardly anything is left of ends the rounds."""
    order = np.linspace(-1, 1, NUM)
    found = relabelled(lambda request: np.stack([np.zeros(NUM), 5 + order], axis=1), GOLD, rounds=1)
    assert abs(found.rounds[0].proposed.labels.mean() - 0.5) <= MAX_DRIFT + 1 / NUM
    assert "rates-drift" in [one.code for one in alarms_of(problem_for(), found, ["hot", "cool"])]
    rare = (np.arange(NUM) < 76).astype(np.int64)
    gone = relabelled(lambda request: answers_of(np.ones(NUM, dtype=np.int64)), rare)
    assert (gone.winner.labels == rare).all()
    assert "label-vanishes" in [one.code for one in alarms_of(problem_for(), gone, ["hot", "cool"])]


def test_rules_known_labels_and_stated_rates_are_kept() -> None:
    task = Task.model_validate({**read_yaml(PAIRS), "rates": {"hot": 0.5}})
    wrong = {f"row-{number}": ("cool", "hot")[number % 2] for number in range(6)}
    problem = problem_for(task, wrong)
    noise = np.random.default_rng(1).normal(size=(NUM, 2))
    found = relabelled(lambda request: noise, flipped(GOLD, 0.2), problem=problem)
    for one in [found.winner.labels, *(judged.proposed.labels for judged in found.rounds)]:
        assert problem.consistency.num_contradictions(one) == 0
        assert (problem.held(one) == one).all()
        assert one.mean() == 0.5


def test_batches_grow_and_only_trusted_labels_are_learnt() -> None:
    seen: list[PassRequest] = []
    start = np.where(np.arange(NUM) < 10, GOLD, -1)
    found = relabelled(lambda request: answers_of(GOLD), start, seen=seen, batches=3, trust=0.5, rounds=1)
    assert [len(batch) for batch in found.batches] == [10, 20, 40]
    assert [len(parts_of(request, problem_for().units)) for request in seen] == [1, 1, 1, 2]
    for request in seen:
        labelled = request.labels >= 0
        assert labelled.sum() / 2 - 1 <= len(request.hidden) <= labelled.sum() / 2  # rounded for each label
        assert labelled[list(request.hidden)].all()
    assert (found.winner.labels == GOLD).all()
