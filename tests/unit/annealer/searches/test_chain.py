"""One chain of block search, and several in lockstep."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from icm_annealer.core.arrays import Array, Ints
from icm_annealer.core.objective import Objective
from icm_annealer.rules.consistency import Consistency
from icm_annealer.scoring.passes import PassRequest, PassResult
from icm_annealer.scoring.prefix_plan import PlanKind
from icm_annealer.search.base import Problem
from icm_annealer.searches.chain import ChainEnd, ChainSettings, chain, evened, lockstep

NUM = 60
KIND = np.arange(NUM) % 3
Answer = Callable[[PassRequest], Array]


def problem() -> Problem:
    units = [np.array([k]) for k in range(NUM)]
    judge = Consistency([], units, [{}] * NUM, ["a", "b", "c"])
    return Problem(NUM, 3, units, judge, Objective(), PlanKind("folds", 2))


def ends_of(
    labels: list[Ints], settings: ChainSettings, answer: Answer, heat: float = 0.0, first_number: int = 1
) -> tuple[list[ChainEnd], list[list[PassRequest]]]:
    """The ends of chains from these labels, and their rounds."""
    chains = [chain(problem(), settings, start, heat, np.random.default_rng(k)) for k, start in enumerate(labels)]
    running, rounds = lockstep(chains, first_number), list[list[PassRequest]]()
    requests = next(running)
    while True:
        rounds.append(requests)
        try:
            requests = running.send([PassResult(answer(request)) for request in requests])
        except StopIteration as stop:
            return stop.value, rounds


# Without shots, kind 2 is likelier to be `b`, too, and `c` is a little likelier for kind 2 than for kind 1.
ALONE = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, -1.0], [0.0, 1.0, -0.9]])


def from_shots(request: PassRequest) -> Array:
    """A label is the likelier, the larger the share of the query's kind among the shots with that label."""
    labels = request.labels.copy()
    labels[request.queries] = -1
    scores = ALONE[KIND[request.queries]] - 6.0
    for label in range(3):
        shots = KIND[labels == label]
        if len(shots):
            scores[:, label] += 3.0 * (shots == KIND[request.queries][:, None]).mean(axis=1)
    return scores


def test_first_proposals_at_even_rates_keep_a_label_that_free_ones_lose() -> None:
    two_kinds = np.minimum(KIND, 1)  # kinds 1 and 2 run together
    (free,), _ = ends_of([two_kinds], ChainSettings(num_even_passes=0), from_shots)
    assert free.labels.tolist() == two_kinds.tolist()
    (even,), _ = ends_of([two_kinds], ChainSettings(), from_shots)
    assert (even.labels == KIND).mean() >= 0.95


def test_later_proposals_have_the_rates_of_the_evidence() -> None:
    uneven = (np.arange(NUM) < 6).astype(int)

    def answer(request: PassRequest) -> Array:
        return np.log(np.where(np.arange(3) == uneven[request.queries][:, None], 0.98, 0.01))

    starts = [np.random.default_rng(0).integers(3, size=NUM)]
    settings = ChainSettings(num_even_passes=2)
    (end,), _ = ends_of(starts, settings, answer)
    assert end.labels.tolist() == uneven.tolist()


def test_evened_scores_give_every_label_as_many_examples_and_keep_their_order() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(0.0, 3.0, (300, 3)) + np.array([4.0, 0.0, -2.0])
    shifted = evened(scores)
    counts = np.bincount(shifted.argmax(axis=1), minlength=3)
    assert np.abs(counts - 100).max() <= 10
    assert np.ptp(shifted - scores, axis=0).max() < 1e-9


def test_chains_in_lockstep_are_as_each_alone() -> None:
    starts = [np.random.default_rng(k).integers(3, size=NUM) for k in range(3)]
    together, rounds = ends_of(starts, ChainSettings(), from_shots, heat=0.5, first_number=5)
    assert [request.purpose for request in rounds[0]] == ["chain 5", "chain 6", "chain 7"]
    assert all(len({request.purpose for request in requests}) == len(requests) for requests in rounds)
    (alone,), _ = ends_of(starts[:1], ChainSettings(), from_shots, heat=0.5)
    assert alone.labels.tolist() == together[0].labels.tolist()
    assert alone.us == together[0].us


def test_a_chain_without_passes_ends_at_its_start() -> None:
    running = lockstep([chain(problem(), ChainSettings(max_passes=0), KIND, 0.0, np.random.default_rng(0))])
    ends: list[ChainEnd] = []
    try:
        next(running)
    except StopIteration as stop:
        ends = stop.value
    assert [end.labels.tolist() for end in ends] == [KIND.tolist()]
    assert ends[0].u == 0.0
    assert not ends[0].oscillates


def test_a_chain_never_changes_the_labels_of_a_request() -> None:
    seen: list[tuple[Ints, list[int]]] = []

    def answer(request: PassRequest) -> Array:
        seen.append((request.labels, request.labels.tolist()))
        return from_shots(request)

    ends_of([np.random.default_rng(0).integers(3, size=NUM)], ChainSettings(), answer, heat=0.5)
    assert all(labels.tolist() == before for labels, before in seen)
