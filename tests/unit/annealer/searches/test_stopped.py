"""Every search that can stop ends wherever it is stopped, with evaluated labels and the known ones in their places."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from icm_annealer.core.arrays import Array
from icm_annealer.core.objective import Objective
from icm_annealer.rules.consistency import Consistency
from icm_annealer.scoring.passes import PassRequest, PassResult
from icm_annealer.scoring.prefix_plan import PlanKind
from icm_annealer.search.base import FINALISTS, Problem, Result
from icm_annealer.search.driver import drive
from icm_annealer.searches.gibbs import GibbsSettings
from icm_annealer.searches.official import OfficialSettings
from icm_annealer.searches.registry import BUILT_IN
from icm_annealer.searches.settings import Settings
from icm_client import RequestError

NUM = 12
GOLD = np.arange(NUM) % 2
KNOWN = np.where(np.arange(NUM) < 2, GOLD, -1)
OPTIONS: dict[str, Any] = {
    "official": OfficialSettings(iterations_per_example=1.0),
    "gibbs": GibbsSettings(num_burn_in=1, num_samples=1),
}
Answer = Callable[[PassRequest], Array]


def noise(request: PassRequest) -> Array:
    """As if nothing were coherent: searches use all their chains and passes."""
    rng = np.random.default_rng([*(request.labels + 1).tolist(), *request.order.tolist()])
    return np.log(rng.dirichlet(np.ones(2), size=len(request.queries)))


def opposite(request: PassRequest) -> Array:
    """The concept without context, and its opposite behind shots: answers are renamed."""
    likely = GOLD[request.queries] if (request.labels < 0).all() else 1 - GOLD[request.queries]
    return np.where(np.arange(2) == likely[:, None], -0.2, -2.0)


class Answers:
    """Answers all passes, and keeps their requests."""

    def __init__(self, answer: Answer):
        self._answer = answer
        self.requests: list[PassRequest] = []

    async def score(self, request: PassRequest) -> PassResult:
        self.requests.append(request)
        return PassResult(self._answer(request))


async def stopped(search: str, answer: Answer, after: int) -> tuple[Result, list[PassRequest], bool]:
    """The result if the search is stopped between any two rounds from number `after` on."""
    judge = Consistency([], [np.array([k]) for k in range(NUM)], [{}] * NUM, ["a", "b"])
    posed = Problem(NUM, 2, [np.array([k]) for k in range(NUM)], judge, Objective(), PlanKind("tree"), KNOWN)
    settings, passes, num = Settings(search=search, options=OPTIONS.get(search)), Answers(answer), 0

    def stops(*_: object) -> bool:
        nonlocal num
        num += 1
        return num >= after

    outcome = await drive(settings.start(posed), posed, passes, stops=stops)
    return outcome.result, passes.requests, outcome.is_stopped


@pytest.mark.parametrize("answer", [pytest.param(noise, marks=pytest.mark.slow), opposite])
@pytest.mark.parametrize("search", [name for name, kind in BUILT_IN.items() if kind.can_stop])
async def test_a_search_ends_wherever_it_is_stopped(search: str, answer: Answer) -> None:
    after, was_stopped = 1, True
    while was_stopped:
        result, requests, was_stopped = await stopped(search, answer, after)
        assert result.winner.us, after
        assert set(result.winner.labels.tolist()) <= {0, 1}
        assert (result.winner.labels[KNOWN >= 0] == KNOWN[KNOWN >= 0]).all()
        assert requests[-1].purpose == FINALISTS
        after += 1
    assert after > 3


async def test_a_search_that_does_not_end_when_it_is_stopped_is_refused() -> None:
    with pytest.raises(RequestError, match="does not end when it is stopped"):
        await stopped("known_shots", noise, 1)


def test_searches_that_comparisons_stop_can_stop() -> None:
    assert all(kind.can_stop for kind in BUILT_IN.values() if kind.is_stopped)
