"""The baseline searches: what they ask, what they find on the fake engine, and how they are stopped."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import planted

from icm_annealer.core.label_balance import LabelRates
from icm_annealer.core.objective import Objective
from icm_annealer.data.examples import Loaded, consistency_of, labels_of
from icm_annealer.data.task import LoadedTask
from icm_annealer.labelling.search_run import Run, run_search
from icm_annealer.rules.consistency import Consistency
from icm_annealer.rules.registry import rule_of
from icm_annealer.scoring.pass_event import PassEvent
from icm_annealer.scoring.passes import PassRequest, PassResult, PassScorer
from icm_annealer.scoring.prefix_plan import PlanKind
from icm_annealer.search.base import Problem, Result, StopSearch, zero_shot_labels_of
from icm_annealer.searches.bootstrap import BootstrapSettings
from icm_annealer.searches.gibbs import GibbsSettings
from icm_annealer.searches.growing import GrowingSettings
from icm_annealer.searches.joint import JointSettings
from icm_annealer.searches.settings import Settings
from icm_client import ScorerClient

Array = npt.NDArray[np.float64]
Answer = Callable[[PassRequest], Array]
PAIRED = planted.TASK + "group: pair\nleave_out: group\nrules: [{kind: mirrored}]\n"
BASELINES = ["zero_shot", "growing", "joint", "gibbs", "bootstrap"]
# The fake engine is unsure of itself: a chain of draws finds something only where it is cold, and a cold raw one ends
# with a single label.
COLD = GibbsSettings(num_burn_in=4, num_samples=5, temperature=0.1, is_calibrated=True)
COLD_SWEEPS = replace(COLD, scan="sweep", start="zero-shot")


class Outcome(NamedTuple):
    requests: list[PassRequest]
    result: Result

    def of(self, purpose: str) -> list[PassRequest]:
        return [request for request in self.requests if request.purpose == purpose]


def problem(num: int, num_labels: int = 2, group_size: int = 1, *rules: dict[str, Any]) -> Problem:
    """Examples in groups of `group_size`, which are left out whole."""
    groups = list(np.arange(num).reshape(-1, group_size))
    parsed = [rule_of(rule) for rule in rules]
    judge = Consistency(parsed, groups, [{}] * num, [f"label {number}" for number in range(num_labels)])
    return Problem(num, num_labels, groups, judge, Objective(), PlanKind("tree"))


def drive(given: Problem, settings: Settings, answer: Answer, stop_after: int | None = None) -> Outcome:
    """The whole search, with the results of `answer` to its requests, stopped after that many rounds."""
    search, requests = settings.start(given), list[PassRequest]()
    asked = next(search)
    for number in range(1, 100_000):
        requests += asked
        answers = [PassResult(answer(request)) for request in asked]
        try:
            asked = search.send(answers)
            if number == stop_after and asked[0].purpose != "finalists":
                asked = search.throw(StopSearch())
        except StopIteration as stop:
            return Outcome(requests, stop.value)
    pytest.fail("the search does not end")


def noise(num_labels: int = 2) -> Answer:
    """Answers that depend on what is asked alone."""

    def answer(request: PassRequest) -> Array:
        rng = np.random.default_rng([*(request.labels + 1).tolist(), *request.queries.tolist()])
        return np.log(rng.dirichlet(np.ones(num_labels), size=len(request.queries)))

    return answer


def prefers(target: Array, by: float = 3.0) -> Answer:
    return lambda request: np.where(np.arange(2) == target[request.queries][:, None], 0.0, -by)


async def searched(scorer: ScorerClient, task_file: Path, settings: Settings) -> tuple[Run, LoadedTask, Loaded]:
    loaded_task, loaded = planted.load(task_file)
    return await run_search(loaded.examples, loaded_task.task, scorer, settings), loaded_task, loaded


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "at_least"),
    [
        (Settings(search="growing"), 0.85),
        (Settings(search="joint"), 0.95),
        (Settings(search="joint", options=JointSettings(is_calibrated=True, num_rounds=5)), 0.95),
        (Settings(search="gibbs", options=COLD), 0.95),
        (Settings(search="gibbs", options=COLD_SWEEPS), 0.95),
        (Settings(search="bootstrap", options=BootstrapSettings(is_calibrated=True)), 0.75),
    ],
    ids=["growing", "joint", "joint calibrated", "gibbs", "gibbs in sweeps", "bootstrap"],
)
async def test_a_planted_concept_is_found(
    tmp_path: Path, scorer: ScorerClient, settings: Settings, at_least: float
) -> None:
    shares = []
    for seed in range(3):
        task_file = planted.write_task(tmp_path / str(seed), 32, seed=seed)
        run, loaded_task, loaded = await searched(scorer, task_file, settings.model_copy(update={"seed": seed}))
        shares.append(planted.right(run.labels, labels_of(loaded.examples, loaded.gold, loaded_task.task)))
    assert np.median(shares) >= at_least, shares


async def test_zero_shot_says_what_the_calibrated_zero_shot_pass_says(tmp_path: Path, scorer: ScorerClient) -> None:
    run, _, _ = await searched(scorer, planted.write_task(tmp_path, 32), Settings(search="zero_shot"))
    assert run.labels.tolist() == zero_shot_labels_of(run.problem, run.result).tolist()
    assert run.num_passes == 4  # one, and three orders to weigh the labels on


@pytest.mark.parametrize(
    "search", [pytest.param(name, marks=[pytest.mark.slow] if name == "gibbs" else []) for name in BASELINES]
)
async def test_rules_are_kept_and_whole_groups_left_out(tmp_path: Path, scorer: ScorerClient, search: str) -> None:
    loaded_task, loaded = planted.load(planted.write_task(tmp_path, 24, task=PAIRED))
    settings = Settings(search=search, options={"joint": JointSettings(num_rounds=2), "gibbs": COLD}.get(search))
    judge = consistency_of(loaded_task.task, loaded.examples)
    model = await scorer.model()
    passes = await PassScorer.open(scorer, loaded_task.task, loaded.examples, judge.groups, model)
    group, num_contexts = np.zeros(len(loaded.examples), dtype=np.int64), 0
    for number, members in enumerate(judge.groups):
        group[members] = number

    def check(event: PassEvent) -> None:
        nonlocal num_contexts
        plan = passes.plan(event.request)
        for (_, query), context in zip(plan.reads, plan.contexts(), strict=True):
            assert group[query] not in group[context]
            num_contexts += len(context) > 0

    run = await run_search(loaded.examples, loaded_task.task, scorer, settings, on_pass=check)
    assert num_contexts > 0
    assert judge.num_contradictions(run.labels) == 0


@pytest.mark.parametrize("scan", ["random", "sweep"])
@pytest.mark.parametrize("search", BASELINES)
def test_the_same_seed_asks_the_same(search: str, scan: Any) -> None:
    def asked(seed: int) -> list[Any]:
        gibbs = GibbsSettings(num_burn_in=1, num_samples=2, scan=scan)
        settings = Settings(search=search, seed=seed, options={"gibbs": gibbs}.get(search))
        outcome = drive(problem(12), settings, noise())
        return [
            (request.purpose, request.labels.tolist(), request.queries.tolist(), request.order.tolist())
            for request in outcome.requests
        ]

    assert asked(1) == asked(1) != asked(2)


@pytest.mark.parametrize("num_labels", [2, 3, 26])
@pytest.mark.parametrize("search", BASELINES)
def test_any_number_of_labels_and_examples(search: str, num_labels: int) -> None:
    for num in (1, 2, 5, 40):
        outcome = drive(
            problem(num, num_labels), Settings(search=search, options={"gibbs": COLD}.get(search)), noise(num_labels)
        )
        labels = outcome.result.winner.labels
        assert labels.shape == (num,)
        assert ((labels >= 0) & (labels < num_labels)).all()


def test_growing_takes_the_most_confident_of_each_label() -> None:
    strength = np.linspace(0.1, 4.0, 50)[np.random.default_rng(0).permutation(50)].repeat(2)  # alike for both labels
    target = np.arange(100) % 2

    def answer(request: PassRequest) -> Array:
        return np.where(np.arange(2) == target[request.queries][:, None], 0.0, -strength[request.queries][:, None])

    outcome = drive(problem(100), Settings(search="growing"), answer)
    assert all(len(request.queries) == 100 for request in outcome.of("growing"))
    contexts = [np.flatnonzero(request.labels >= 0) for request in outcome.of("growing")]
    assert [len(context) for context in contexts] == [2, 4, 16, 64]
    for context in contexts:
        for label in (0, 1):
            members = np.flatnonzero(target == label)
            best = members[np.argsort(-strength[members])][: len(context) // 2]
            assert sorted(context[target[context] == label].tolist()) == sorted(best.tolist())
    assert outcome.result.winner.labels.tolist() == target.tolist()


def test_growing_never_takes_everybody() -> None:
    outcome = drive(problem(16), Settings(search="growing"), noise())
    assert [int((request.labels >= 0).sum()) for request in outcome.of("growing")] == [2, 4]


def test_joint_inference_draws_balanced_shots_and_votes() -> None:
    target = np.array([0] * 30 + [1] * 10)
    right, wrong = prefers(target), prefers(1 - target)
    num_draws = 0

    def answer(request: PassRequest) -> Array:
        nonlocal num_draws
        if request.purpose != "joint":
            return right(request)
        num_draws += 1
        return (wrong if num_draws in (1, 4) else right)(request)  # two of five are wrong: outvoted

    outcome = drive(problem(40), Settings(search="joint", options=JointSettings(num_rounds=2)), answer)
    draws = outcome.of("joint")
    assert len(draws) == 10
    for request in draws:
        assert np.bincount(target[request.labels >= 0]).tolist() == [8, 8]
    assert len({tuple(np.flatnonzero(request.labels >= 0)) for request in draws}) == 10
    assert outcome.result.winner.labels.tolist() == target.tolist()


def test_joint_inference_that_is_stopped_is_voted_by_the_draws_it_has() -> None:
    target = np.arange(20) % 2

    def answer(request: PassRequest) -> Array:
        return prefers(target)(request) if request.purpose == "joint" else prefers(1 - target)(request)

    settings = Settings(search="joint")
    assert drive(problem(20), settings, answer, 2).result.winner.labels.tolist() == target.tolist()
    assert drive(problem(20), settings, answer, 1).result.winner.labels.tolist() == (1 - target).tolist()


def test_joint_inference_keeps_to_half_of_a_small_set() -> None:
    outcome = drive(problem(10), Settings(search="joint", options=JointSettings(num_rounds=1)), noise())
    assert {int((request.labels >= 0).sum()) for request in outcome.of("joint")} == {5}


def test_bootstrapping_labels_everybody_behind_balanced_random_labels_and_then_behind_its_own() -> None:
    target = np.array([0] * 30 + [1] * 10)
    given = problem(40)
    outcome = drive(given, Settings(search="bootstrap", options=BootstrapSettings(num_rounds=3)), prefers(target))
    rounds = outcome.of("bootstrap")
    assert [len(request.queries) for request in rounds] == [40, 40, 40]
    assert np.bincount(rounds[0].labels).tolist() == [20, 20]
    assert rounds[1].labels.tolist() == rounds[2].labels.tolist() == target.tolist()
    assert len({tuple(request.order) for request in rounds}) == 3
    assert outcome.result.winner.labels.tolist() == target.tolist()


@pytest.mark.parametrize("keeps_rules", [False, True])
def test_only_consistent_bootstrapping_keeps_the_rules(keeps_rules: bool) -> None:
    given = problem(60, 2, 2, {"kind": "mirrored"})
    settings = BootstrapSettings(num_rounds=3, keeps_rules=keeps_rules)
    outcome = drive(given, Settings(search="bootstrap", options=settings), noise())
    contradictions = [given.consistency.num_contradictions(request.labels) for request in outcome.of("bootstrap")]
    contradictions.append(given.consistency.num_contradictions(outcome.result.winner.labels))
    assert all(number == 0 for number in contradictions) if keeps_rules else all(contradictions)


@pytest.mark.parametrize("scan", ["random", "sweep"])
def test_gibbs_draws_one_label_at_a_time_behind_all_others(scan: Any) -> None:
    settings = GibbsSettings(num_burn_in=1, num_samples=2, scan=scan)
    outcome = drive(problem(12), Settings(search="gibbs", options=settings), noise())
    draws = outcome.of("gibbs")
    assert len(draws) == 3 * 12
    for request, following in itertools.pairwise(draws):
        (drawn,) = request.queries
        assert np.flatnonzero(request.labels < 0).tolist() == [drawn]
        others = np.delete(np.arange(12), [drawn, int(following.queries[0])])
        assert request.labels[others].tolist() == following.labels[others].tolist()
    orders = {tuple(request.order) for request in draws}
    if scan == "sweep":
        assert len(orders) == 3
        assert all(
            sorted(int(request.queries[0]) for request in draws[k : k + 12]) == list(range(12)) for k in (0, 12, 24)
        )
    else:
        assert len(orders) == 36


def test_gibbs_begins_with_as_many_of_each_label() -> None:
    outcome = drive(problem(30, 3), Settings(search="gibbs"), noise(3), stop_after=2)
    (first, *_) = outcome.of("gibbs")
    assert sorted(np.bincount(first.labels[first.labels >= 0]).tolist()) == [9, 10, 10]


def test_gibbs_draws_from_the_conditional_distribution() -> None:
    def answer(request: PassRequest) -> Array:
        return np.tile(np.log([0.2, 0.8]) - 5.0, (len(request.queries), 1))  # little mass on the labels altogether

    settings = GibbsSettings(num_burn_in=0, num_samples=1)
    ones = [
        drive(problem(400), Settings(search="gibbs", seed=seed, options=settings), answer).of("gibbs")
        for seed in (0, 1)
    ]
    # Of 400 draws each, those of examples drawn a second time show what the first draw was.
    seen, hits = 0, 0
    for draws in ones:
        first: set[int] = set()
        last = draws[-1]
        for request in draws[:-1]:
            first.add(int(request.queries[0]))
        drawn = [example for example in first if last.labels[example] >= 0]
        seen, hits = seen + len(drawn), hits + int(last.labels[drawn].sum())
    assert 0.75 < hits / seen < 0.85


def test_calibrated_gibbs_is_not_carried_away_by_a_label_that_all_prefer() -> None:
    target = np.arange(40) % 2

    def answer(request: PassRequest) -> Array:
        return prefers(target)(request) + np.array([0.0, 10.0])

    def labels(settings: GibbsSettings) -> list[int]:
        return drive(problem(40), Settings(search="gibbs", options=settings), answer).result.winner.labels.tolist()

    raw = GibbsSettings(num_burn_in=2, num_samples=3, temperature=0.2)
    assert labels(raw) == [1] * 40
    calibrated = GibbsSettings(num_burn_in=2, num_samples=3, temperature=0.2, is_calibrated=True)
    assert labels(calibrated) == target.tolist()


@pytest.mark.parametrize(
    ("search", "stop_after"),
    [("growing", 2), ("growing", 4), ("joint", 2), ("joint", 7), ("gibbs", 2), ("gibbs", 50), ("bootstrap", 3)],
)
def test_a_search_can_be_stopped_and_is_weighed_all_the_same(search: str, stop_after: int) -> None:
    given = problem(100, 2, 2, {"kind": "mirrored"})
    outcome = drive(given, Settings(search=search), noise(), stop_after)
    # The round that was on its way when the search was stopped is not answered any more.
    assert len([request for request in outcome.requests if request.purpose != "finalists"]) == stop_after
    assert len(outcome.of("finalists")) == 3
    assert given.consistency.num_contradictions(outcome.result.winner.labels) == 0
    assert np.isfinite(outcome.result.winner.u)


@settings(max_examples=30)
@given(
    search=st.sampled_from([*BASELINES, "blocks"]),
    num=st.integers(1, 14),
    num_labels=st.integers(2, 5),
    seed=st.integers(0, 100),
    stop_after=st.integers(2, 12) | st.none(),
    given_too=st.sets(st.sampled_from(["labels", "rates"])),
)
def test_without_rules_a_label_has_the_highest_of_its_scores(
    search: str, num: int, num_labels: int, seed: int, stop_after: int | None, given_too: set[str]
) -> None:
    """Also where label rates decided; only known labels are what they are."""
    options = {"gibbs": GibbsSettings(num_burn_in=1, num_samples=2), "joint": JointSettings(num_draws=3, num_rounds=2)}
    chosen = Settings(search=search, seed=seed, options=options.get(search))
    known = np.where(np.arange(num) < 3, np.arange(num) % num_labels, -1) if "labels" in given_too else None
    rates = LabelRates.even(num_labels) if "rates" in given_too else None
    stop = None if search == "blocks" else stop_after
    given = replace(problem(num, num_labels), known=known, rates=rates)
    winner = drive(given, chosen, noise(num_labels), stop).result.winner
    found = ~given.is_known
    if winner.scores is None:
        assert (search, num) == ("bootstrap", 1)  # a single example has no context: its label is a random one
    else:
        assert winner.scores.argmax(axis=1)[found].tolist() == winner.labels[found].tolist()
        assert np.isfinite(winner.scores).all()


def test_scores_of_votes_are_their_shares() -> None:
    target = np.arange(20) % 2
    num_draws = 0

    def answer(request: PassRequest) -> Array:
        nonlocal num_draws
        num_draws += request.purpose == "joint"
        return (prefers(1 - target) if num_draws in (1, 4) else prefers(target))(request)

    outcome = drive(problem(20), Settings(search="joint", options=JointSettings(num_rounds=1)), answer)
    # Three votes of five, and half a vote each for the current label, for either label before any draw.
    assert outcome.result.winner.probs[np.arange(20), target] == pytest.approx(np.full(20, 4 / 6.5))


def test_nothing_is_weighed_where_no_final_order_is_set() -> None:
    outcome = drive(problem(20), Settings(search="growing", options=GrowingSettings(num_final_orders=0)), noise())
    assert not outcome.of("finalists")
    assert np.isnan(outcome.result.winner.u)


def test_sweeps_in_all_are_divided_as_published() -> None:
    within = GibbsSettings().within(7)
    assert (within.num_burn_in, within.num_samples) == (2, 5)
    assert GibbsSettings().within(35) == GibbsSettings()
