"""Label rates that nobody stated, on made data: points on a line in two heaps, of which the smaller one is rare."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from icm_annealer.core.arrays import Array, Ints
from icm_annealer.core.label_balance import LabelRates
from icm_annealer.core.objective import Objective
from icm_annealer.rules.consistency import Consistency
from icm_annealer.rules.registry import rule_of
from icm_annealer.scoring.passes import PassRequest, PassResult
from icm_annealer.search.base import TWO_FOLDS, AtRates, Problem, Result, StopSearch
from icm_annealer.searches.blocks import UNEVEN, BlockSettings, blocks
from icm_annealer.searches.chain import ChainSettings
from icm_annealer.searches.found_rates import FROM_GROWN, LEAST_COUNT, answers_at_rates

NUM = 120
EVALUATED, CHAINS = "label rates", ["chain at uneven rates 1", "chain at uneven rates 2"]


class Heaps:
    """Examples at places on a line, and a model that goes by the labels of near shots."""

    def __init__(self, share: float):
        rng = np.random.default_rng(0)
        self.gold: Ints = rng.permutation(np.arange(NUM) < share * NUM).astype(np.int64)
        self.places = 2.0 * self.gold + rng.normal(0, 0.25, NUM)
        units = [np.array([k]) for k in range(NUM)]
        judge = Consistency([], units, [{}] * NUM, ["common", "rare"])
        self.problem = Problem(NUM, 2, units, judge, Objective(), TWO_FOLDS)

    @property
    def start(self) -> Array:
        """Scores that cut the line in half."""
        above = self.places - np.median(self.places)
        return np.stack([-above, above], axis=1)

    def answer(self, request: PassRequest) -> PassResult:
        """A label is as likely as its shots are near, and the likelier, the more of them there are."""
        labelled = request.order[request.labels[request.order] >= 0]
        if not len(labelled):  # without context, the places say something
            return PassResult(self.start - 1.0)
        first, second = np.split(labelled, [len(labelled) // 2])
        scores = np.empty((len(request.queries), 2))
        for half, context in ((first, second), (second, first), (np.setdiff1d(np.arange(NUM), labelled), labelled)):
            rows, shown = np.isin(request.queries, half), np.setdiff1d(context, request.hidden)
            near = np.exp(-2 * abs(self.places[request.queries[rows], None] - self.places[shown]))
            shots = np.eye(2)[request.labels[shown]]
            counts = shots.sum(axis=0)
            likely = (near @ shots / np.maximum(counts, 1) + 0.02) * (counts / counts.sum() + 0.01)
            scores[rows] = np.log(likely / likely.sum(axis=1, keepdims=True))
        return PassResult(scores)

    def found(
        self,
        problem: Problem | None = None,
        most: int = 1000,
        start: Array | None = None,
        grown: Array | None = None,
    ) -> tuple[list[AtRates], list[str]]:
        """The answers, and the purposes of all passes; the search is stopped behind `most` passes."""
        settings, rng = ChainSettings(max_passes=6), np.random.default_rng(1)
        start = self.start if start is None else start
        search = answers_at_rates(problem or self.problem, settings, start, grown, lambda said: said, rng)
        asked, sent = list[str](), None
        while True:
            try:
                requests = next(search) if sent is None else search.send(sent)
                while len(asked) + len(requests) > most:
                    requests = search.throw(StopSearch())
            except StopIteration as stop:
                return stop.value, asked
            asked += [request.purpose for request in requests]
            sent = [self.answer(request) for request in requests]


UNEVEN_HEAPS, EVEN_HEAPS = Heaps(0.15), Heaps(0.5)


def test_uneven_labels_are_found_at_about_their_rates() -> None:
    found, asked = UNEVEN_HEAPS.found()
    best = max(found, key=lambda answer: answer.u)
    assert found[0].rates.tolist() == [0.5, 0.5]
    assert best.u > found[0].u + 0.2
    assert best.rates[1] == pytest.approx(0.15, abs=0.06)
    assert (best.labels == UNEVEN_HEAPS.gold).mean() > 0.9
    assert asked[:3] == [EVALUATED, *CHAINS]  # either label is made commoner
    for answer in found:
        assert np.bincount(answer.labels) / NUM == pytest.approx(answer.rates, abs=0.5 / NUM)
        assert (answer.scores.argmax(axis=1) == answer.labels).all()
        assert answer.error > 0
    # Last, rates half a step from the best ones are tried without a chain.
    odds = np.array([answer.rates[0] / answer.rates[1] for answer in found])
    assert np.isclose(odds, odds[-1] * 3**0.5).any()
    assert all(answer.rates.min() * NUM >= LEAST_COUNT for answer in found)


def test_on_even_labels_nothing_is_asked() -> None:
    found, asked = EVEN_HEAPS.found()
    assert (found, asked) == ([], [])  # the scores speak against both


def test_rates_that_rules_do_not_allow_are_not_tried() -> None:
    """Of a pair, one has each label, so labels are even whatever is asked."""
    by_place = np.argsort(UNEVEN_HEAPS.places)
    pairs = list(np.stack([by_place[: NUM // 2], by_place[NUM // 2 :]], axis=1))
    judge = Consistency([rule_of({"kind": "mirrored"})], pairs, [{}] * NUM, ["common", "rare"])
    assert UNEVEN_HEAPS.found(replace(UNEVEN_HEAPS.problem, consistency=judge)) == ([], [])


def test_growing_labels_that_are_uneven_lead_to_rates_that_the_answer_does_not_show() -> None:
    other = np.random.default_rng(3).permutation(UNEVEN_HEAPS.start)  # an even answer that has nothing to do with gold
    far = UNEVEN_HEAPS.places - np.quantile(UNEVEN_HEAPS.places, 0.75)  # a quarter has the rare label, not 15 %
    grown = np.stack([-far, far], axis=1)
    found, asked = UNEVEN_HEAPS.found(start=other, grown=grown)
    best = max(found, key=lambda answer: answer.u)
    assert {purpose for purpose in asked if purpose.startswith(FROM_GROWN)} >= {f"{FROM_GROWN} 1", f"{FROM_GROWN} 2"}
    assert (best.labels == UNEVEN_HEAPS.gold).mean() > 0.97
    assert best.rates[1] == pytest.approx(0.15, abs=0.02)
    _, asked = UNEVEN_HEAPS.found(start=other, grown=UNEVEN_HEAPS.start)  # even growing labels add nothing
    assert not any(purpose.startswith(FROM_GROWN) for purpose in asked)


@pytest.mark.slow
def test_known_labels_bound_the_rates() -> None:
    gold = UNEVEN_HEAPS.gold
    known = np.where(np.arange(NUM) < 90, gold, -1)
    assert (known == 0).sum() > NUM / 2
    assert UNEVEN_HEAPS.found(replace(UNEVEN_HEAPS.problem, known=known)) == ([], [])  # they cannot be even
    known = np.full(NUM, -1)
    known[np.flatnonzero(gold == 1)[:10]] = 1
    found, _ = UNEVEN_HEAPS.found(replace(UNEVEN_HEAPS.problem, known=known))
    assert len(found) > 1
    for answer in found:
        assert answer.rates[1] * NUM >= 10
        assert (answer.labels[known == 1] == 1).all()


@pytest.mark.slow
def test_a_search_that_is_stopped_keeps_the_answers_it_has() -> None:
    whole, asked = UNEVEN_HEAPS.found()
    behind = asked.index(EVALUATED, 1) + 2  # the answers of the first two chains are evaluated
    assert set(asked[1 : behind - 2]) == set(CHAINS)
    numbers = []
    for most in (0, 1, 5, behind, behind + 2):  # in front of all, of the chains, in these, behind them, in the next one
        found, _ = UNEVEN_HEAPS.found(most=most)
        assert [answer.rates.tolist() for answer in found] == [answer.rates.tolist() for answer in whole[: len(found)]]
        numbers.append(len(found))
    assert numbers == [0, 1, 1, 3, 3]


def searched(heaps: Heaps, problem: Problem | None = None) -> tuple[Result, list[str]]:
    search = blocks(problem or heaps.problem, BlockSettings(max_passes=8), 0)
    requests, asked = next(search), list[str]()
    while True:
        asked += [request.purpose for request in requests]
        try:
            requests = search.send([heaps.answer(request) for request in requests])
        except StopIteration as stop:
            return stop.value, asked


@pytest.mark.slow
def test_block_search_compares_the_uneven_answer_with_its_others() -> None:
    result, _ = searched(UNEVEN_HEAPS)
    assert UNEVEN in result.winner.starts
    assert result.uneven is not None
    assert result.uneven.labels.tolist() == result.winner.labels.tolist()
    assert max(result.winner.labels.mean(), 1 - result.winner.labels.mean()) > 0.8
    result, _ = searched(EVEN_HEAPS)
    assert (result.at_rates, result.uneven) == ([], None)


@pytest.mark.slow
def test_rates_that_are_stated_or_of_another_measure_are_not_searched_for() -> None:
    rates = np.array([0.85, 0.15])
    stated = replace(UNEVEN_HEAPS.problem, rates=LabelRates(rates, rates))
    for problem in (stated, replace(UNEVEN_HEAPS.problem, objective=Objective("margin"))):
        result, asked = searched(UNEVEN_HEAPS, problem)
        assert EVALUATED not in asked
        assert not result.at_rates
