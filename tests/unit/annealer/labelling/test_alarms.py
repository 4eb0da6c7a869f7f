"""Each alarm is raised by data made for it, and by nothing else."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from icm_annealer.core.label_balance import LabelRates
from icm_annealer.core.objective import Measure, Objective
from icm_annealer.data.examples import Example
from icm_annealer.labelling.alarms import alarms
from icm_annealer.labelling.coherence_alarms import agreement
from icm_annealer.labelling.surface_alarms import alike_by_chance
from icm_annealer.rules.consistency import Consistency
from icm_annealer.scoring.passes import PassResult
from icm_annealer.scoring.prefix_plan import PlanKind
from icm_annealer.search.base import AtRates, Candidate, Problem, Result

NUM = 60
GOOD = np.random.default_rng(0).permutation(np.arange(NUM) % 2)
TEXTS = [f"text {'x' * int(n)}" for n in np.random.default_rng(1).integers(0, 20, NUM)]
Ints = npt.NDArray[np.int64]


def logprobs(labels: Ints, mass: float = 0.9) -> npt.NDArray[np.float64]:
    """Nine to one for these labels, which have `mass` together."""
    return np.log(mass * np.where(np.arange(2) == labels[:, None], 0.9, 0.1))


def candidate(labels: Ints = GOOD, us: Any = (0.40, 0.42, 0.41), mass: float = 0.9) -> Candidate:
    return Candidate(("random",), labels, float(np.mean(us)), logprobs(labels, mass), list(us))


def result(*candidates: Candidate, zero_shot: Ints | None = GOOD) -> Result:
    """Each candidate is where one chain ended."""
    start = None if zero_shot is None else PassResult(logprobs(zero_shot))
    return Result(list(candidates), start, chains=[each.labels for each in candidates])


def codes(
    found: Result,
    *,
    texts: list[str] = TEXTS,
    sources: list[str] | None = None,
    num_dropped: int = 0,
    measure: Measure = "information",
    rates: LabelRates | None = None,
) -> list[str]:
    judge = Consistency([], [np.array([i]) for i in range(NUM)], [{}] * NUM, ["a", "b"])
    problem = Problem(NUM, 2, [], judge, Objective(measure), PlanKind("tree"), rates=rates)
    examples = [
        Example(str(k), text, None, {"source": source})
        for k, (text, source) in enumerate(zip(texts, sources or ["here"] * NUM, strict=True))
    ]
    return [alarm.code for alarm in alarms(problem, found, examples, num_dropped)]


def changed(labels: Ints, num: int) -> Ints:
    """The labels with `num` of each class turned round, so that the rates stay."""
    other = labels.copy()
    for label in (0, 1):
        other[np.flatnonzero(labels == label)[:num]] = 1 - label
    return other


NEARLY = candidate(changed(GOOD, 3), (0.30, 0.31, 0.30))


def test_good_results_raise_none() -> None:
    assert codes(result(candidate(), NEARLY)) == []
    assert codes(result(candidate())) == []
    assert codes(result(candidate(), zero_shot=None)) == []


@pytest.mark.parametrize("us", [(0.0, 0.01, -0.01), (-0.2, -0.2, -0.2), (0.1, 0.5, -0.1), (0.0,)])
def test_u_not_above_zero(us: tuple[float, ...]) -> None:
    assert codes(result(candidate(us=us))) == ["little-information"]
    assert codes(result(candidate(us=us)), measure="margin") == []


@pytest.mark.parametrize(("num_ones", "raised"), [(3, True), (0, True), (NUM, True), (12, False), (NUM - 12, False)])
def test_uneven_labels(num_ones: int, raised: bool) -> None:
    labels = np.random.default_rng(2).permutation(np.arange(NUM) < num_ones).astype(np.int64)
    assert codes(result(candidate(labels), zero_shot=labels)) == (["uneven-labels"] if raised else [])


def test_labels_at_stated_rates_are_not_too_uneven() -> None:
    labels = np.random.default_rng(2).permutation(np.arange(NUM) < 3).astype(np.int64)
    stated = LabelRates(*np.array([[1 - 3 / NUM, 3 / NUM]] * 2))
    assert codes(result(candidate(labels, (0.3, 0.3)), zero_shot=labels)) == ["uneven-labels"]
    assert codes(result(candidate(labels, (0.3, 0.3)), zero_shot=labels), rates=stated) == []


def test_uneven_rates_that_were_found_are_no_collapse_and_no_disagreement_with_the_even_chains() -> None:
    labels = np.where(np.arange(NUM) < 4, GOOD, 0)
    shares = [np.array([0.5, 0.5]), np.array([1 - labels.mean(), labels.mean()])]
    level = np.full(NUM, 0.3)
    answers = [
        AtRates(share, own, logprobs(own), 0.3, level) for share, own in zip(shares, (GOOD, labels), strict=True)
    ]
    alone = replace(result(candidate(labels)), chains=[GOOD, NEARLY.labels])
    assert codes(alone) == ["uneven-labels", "chains-disagree"]
    assert codes(replace(alone, at_rates=answers)) == []
    other = changed(GOOD, 15)
    assert codes(replace(alone, at_rates=answers, chains=[other, other])) == ["chains-disagree"]


def test_chains_that_disagree() -> None:
    other = candidate(changed(GOOD, 15), (0.1, 0.1, 0.1))
    assert codes(result(candidate(), other, other)) == ["chains-disagree"]
    assert codes(result(candidate(), NEARLY, other)) == []  # one of three that fell behind is no alarm


def test_the_median_chain_decides() -> None:
    other = candidate(changed(GOOD, 15), (0.1, 0.1, 0.1))
    assert agreement(GOOD, [GOOD]) == 1.0
    assert agreement(GOOD, [GOOD, NEARLY.labels, other.labels]) == pytest.approx(0.9)


def test_labels_opposite_to_the_start() -> None:
    assert codes(result(candidate(), zero_shot=1 - GOOD)) == ["opposite-of-start"]
    assert codes(result(candidate(), zero_shot=changed(GOOD, 15))) == []


def test_label_words_that_the_prompt_does_not_ask_for() -> None:
    assert codes(result(candidate(mass=0.2))) == ["low-label-mass"]
    assert codes(result(candidate(mass=0.6))) == []


def test_a_rival_as_high_as_the_winner() -> None:
    rival = candidate(changed(GOOD, 15), (0.40, 0.41, 0.42))
    assert codes(result(candidate(), NEARLY, NEARLY, rival)) == ["too-close-to-call"]
    assert codes(result(candidate(), replace(NEARLY, us=[0.40, 0.41, 0.42]))) == []  # nearly the same labels


def test_an_opposite_nearly_as_high_as_the_winner_unless_the_zero_shot_pass_tells_them_apart() -> None:
    near, far = (candidate(1 - GOOD, (0.41 - lead, 0.42 - lead, 0.40 - lead)) for lead in (0.03, 0.08))
    unsure = changed(GOOD, 14)
    assert codes(replace(result(candidate(), zero_shot=unsure), candidates=[candidate(), near])) == [
        "too-close-to-call"
    ]
    assert codes(replace(result(candidate(), zero_shot=GOOD), candidates=[candidate(), near])) == []
    assert codes(replace(result(candidate(), zero_shot=unsure), candidates=[candidate(), far])) == []


def test_labels_that_go_with_length() -> None:
    texts = ["long " * 20 if label else "short" for label in GOOD]
    assert codes(result(candidate()), texts=texts) == ["surface-length"]
    assert codes(result(candidate()), texts=["same"] * NUM) == []


def test_labels_that_go_with_position() -> None:
    labels = (np.arange(NUM) >= NUM // 2).astype(np.int64)
    assert codes(result(candidate(labels), zero_shot=labels)) == ["surface-position", "neighbours-alike"]


def test_contexts_that_were_cut() -> None:
    assert codes(result(candidate()), num_dropped=7) == ["contexts-cut"]


def test_warnings_come_before_notes_and_say_what_to_try() -> None:
    judge = Consistency([], [np.array([i]) for i in range(NUM)], [{}] * NUM, ["a", "b"])
    problem = Problem(NUM, 2, [], judge, Objective(), PlanKind("tree"))
    labels = (np.arange(NUM) >= NUM // 2).astype(np.int64)
    examples = [Example(str(k), text, None, {}) for k, text in enumerate(TEXTS)]
    found = alarms(problem, result(candidate(labels, mass=0.2), zero_shot=1 - labels), examples, 3)
    levels = [alarm.level for alarm in found]
    assert levels == sorted(levels, reverse=True)
    assert {"warning", "note"} == set(levels)
    for alarm in found:
        assert alarm.observation.endswith((".", ")."))
        assert alarm.advice
        assert str(alarm) == f"{alarm.observation} {alarm.advice}"
        assert "\n" not in str(alarm)


def test_labels_less_coherent_than_those_it_began_with() -> None:
    found = result(candidate())
    assert codes(replace(found, u_start=0.6)) == ["below-start"]
    assert codes(replace(found, u_start=0.42)) == []
    assert codes(replace(found, u_start=None)) == []


def test_u_that_falls_under_fresh_orders() -> None:
    assert codes(result(replace(candidate(us=(0.2, 0.22, 0.21)), u_own=0.6))) == ["order-exploited"]
    assert codes(result(replace(candidate(), u_own=0.45))) == []


def test_labels_that_go_with_their_source() -> None:
    sources = ["books" if label else "news" for label in GOOD]
    assert codes(result(candidate()), sources=sources) == ["surface-source"]
    mixed = [("books", "news")[int(k)] for k in np.random.default_rng(3).integers(0, 2, NUM)]
    assert codes(result(candidate()), sources=mixed) == []
    assert codes(result(candidate()), sources=["all"] * NUM) == []


def test_neighbours_that_are_labelled_alike() -> None:
    in_runs = (np.arange(NUM) // 6 % 2).astype(np.int64)
    assert codes(result(candidate(in_runs), zero_shot=in_runs)) == ["neighbours-alike"]


def test_what_is_expected_of_neighbours_is_that_over_all_orders() -> None:
    for labels in ([0, 0, 0, 1, 1, 2], [0, 1, 1, 1, 1], [0, 0, 0]):
        orders = np.array(list(itertools.permutations(labels)))
        alike = (orders[:, 1:] == orders[:, :-1]).sum(axis=1)
        assert alike_by_chance(np.bincount(labels)) == pytest.approx((alike.mean(), alike.std()))


def test_chains_that_go_back_and_forth() -> None:
    assert codes(replace(result(candidate()), num_oscillating=1)) == ["chains-oscillate"]
