"""The fair queue as a machine without a clock: who is served how much, in which order, and who never waits for ever."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from icm_server.fair_queue import TURN, FairQueue, Quantum, Work


class Read(NamedTuple):
    experiment: str
    request: int
    number: int
    tokens: int
    computed: int


def work(
    experiment: str,
    costs: Sequence[Sequence[int]],
    *,
    request: int = 0,
    priority: int = 0,
    cache_tokens: int = 1,
    too_few: int = 0,
) -> Work[Read]:
    """Quanta of reads that compute `costs`, and were estimated `too_few` tokens less (but at least 1)."""
    quanta, number = [], 0
    for quantum in costs:
        reads = []
        for cost in quantum:
            reads.append(Read(experiment, request, number, max(1, cost - too_few), cost))
            number += 1
        quanta.append(Quantum(reads, cache_tokens))
    return Work(experiment, quanta, priority)


def all_of(queue: FairQueue[Read]) -> list[Read]:
    reads = []
    while (taken := queue.take()) is not None:
        reads.append(taken.read)
    return reads


COSTS = st.lists(st.lists(st.integers(1, 50), min_size=1, max_size=4), min_size=1, max_size=12)
NAMES = "abcde"


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from(NAMES), st.tuples(COSTS, st.floats(0.1, 10)), min_size=2),
    st.integers(-20, 20),
)
def test_shares_are_proportional_to_weights_within_a_quantum(
    tenants: dict[str, tuple[list[list[int]], float]], too_few: int
) -> None:
    queue: FairQueue[Read] = FairQueue(1_000, {name: weight for name, (_, weight) in tenants.items()})
    works = {name: work(name, costs, too_few=too_few) for name, (costs, _) in tenants.items()}
    for one in works.values():
        queue.add(one)
    largest = {name: max(map(sum, costs)) / weight for name, (costs, weight) in tenants.items()}
    served = dict.fromkeys(tenants, 0.0)
    waiting = {name: sum(map(len, costs)) for name, (costs, _) in tenants.items()}
    while (taken := queue.take()) is not None:
        read = taken.read
        queue.correct(taken.work, read.computed - read.tokens)
        served[read.experiment] += read.computed / tenants[read.experiment][1]
        waiting[read.experiment] -= 1
        both = [name for name in tenants if waiting[name]]
        for one in both:
            for other in both:
                assert served[one] - served[other] <= largest[one] + largest[other] + 1e-6
    assert not any(waiting.values())


REQUESTS = st.lists(st.tuples(st.sampled_from(NAMES), COSTS, st.integers(-1, 1), st.integers(1, 60)), max_size=8)


@settings(deadline=None)
@given(REQUESTS, st.data())
def test_every_read_is_taken_once_and_in_its_request_s_order(
    requests: list[tuple[str, list[list[int]], int, int]], data: st.DataObject
) -> None:
    """Whatever is added while others are served, however little fits in the cache, and whatever is estimated."""
    queue: FairQueue[Read] = FairQueue(100)
    works = [
        work(name, costs, request=k, priority=priority, cache_tokens=cache_tokens)
        for k, (name, costs, priority, cache_tokens) in enumerate(requests)
    ]
    reads: list[Read] = []
    for one in works:
        queue.add(one)
        for _ in range(data.draw(st.integers(0, 5))):
            found = queue.take()
            if found is None:
                break
            reads.append(found.read)
            queue.correct(found.work, data.draw(st.integers(-30, 30)))
    reads += all_of(queue)
    by_request = defaultdict(list)
    for read in reads:
        by_request[read.request].append(read.number)
    assert by_request == {k: list(range(sum(map(len, costs)))) for k, (_, costs, _, _) in enumerate(requests)}
    for name in NAMES:  # one experiment's requests of one priority, one after the other
        for priority in (-1, 0, 1):
            mine = [k for k, request in enumerate(requests) if request[0] == name and request[2] == priority]
            order = [read.request for read in reads if read.request in mine]
            assert order == sorted(order)


@settings(deadline=None)
@given(st.integers(2, 6), st.integers(20, 200), st.integers(10, 60))
def test_nobody_waits_for_ever_beside_those_who_never_stop(num_others: int, cache_tokens: int, needed: int) -> None:
    """Also where only one fits in the cache: by a turn for each of the others, its place has come."""
    queue: FairQueue[Read] = FairQueue(cache_tokens)
    for k in range(num_others):
        queue.add(work(f"heavy{k}", [[10]] * 2_000, cache_tokens=needed))
    for _ in range(37):
        queue.take()
    queue.add(work("light", [[10]] * 3, cache_tokens=needed))
    served: dict[str, int] = defaultdict(int)
    while served["light"] < 30:
        taken = queue.take()
        assert taken is not None
        served[taken.work.experiment] += taken.read.tokens
        assert sum(served.values()) <= (TURN * needed + 50) * (num_others + 1)


@settings(deadline=None)
@given(st.lists(st.integers(5, 80), min_size=1, max_size=8), st.integers(10, 150))
def test_no_more_are_interleaved_than_fit_in_the_cache(needs: list[int], cache_tokens: int) -> None:
    queue: FairQueue[Read] = FairQueue(cache_tokens)
    for k, needed in enumerate(needs):
        queue.add(work(str(k), [[3]] * 100, cache_tokens=needed))
    while queue.take() is not None:
        places = queue.interleaved()
        assert sum(places.values()) <= cache_tokens or len(places) == 1


def test_where_one_fits_a_turn_is_long() -> None:
    """A switch costs what has to be computed again, so there are few."""
    queue: FairQueue[Read] = FairQueue(100)
    for name in "ab":
        queue.add(work(name, [[10]] * 400, cache_tokens=80))
    order = [read.experiment for read in all_of(queue)]
    switches = sum(one != other for one, other in pairwise(order))
    assert switches <= 8_000 / (TURN * 80) + 1


def test_a_request_that_is_done_gives_up_its_place() -> None:
    queue: FairQueue[Read] = FairQueue(100)
    for k in range(3):
        for name in "ab":
            queue.add(work(name, [[10]] * 5, request=k, cache_tokens=80))
    order = [read.experiment + str(read.request) for read in all_of(queue)]
    assert order[::5] == ["a0", "b0", "a1", "b1", "a2", "b2"]


def test_whoever_comes_is_next_and_nothing_is_saved_up_in_a_pause() -> None:
    queue: FairQueue[Read] = FairQueue(1_000)
    queue.add(work("light", [[1]]))
    queue.add(work("heavy", [[10]] * 100))
    for _ in range(50):
        queue.take()
    queue.add(work("light", [[10]] * 50))
    order = [read.experiment for read in all_of(queue)]
    assert order[0] == "light"
    assert order[:20].count("light") == 10


def test_who_asks_for_little_now_and_then_has_it_at_once() -> None:
    """Also where it is more than a quantum, up to a burst; and the engine is told to let it pass."""
    queue: FairQueue[Read] = FairQueue(1_000, burst_tokens=100)
    for k in range(7):
        queue.add(work(f"heavy{k}", [[10]] * 100))
    ranks = []
    for _ in range(150):
        taken = queue.take()
        assert taken is not None
        ranks.append(taken.rank)
    queue.add(work("light", [[10]] * 20))
    after = [queue.take() for _ in range(30)]
    order = [taken.work.experiment for taken in after if taken]
    assert order[:10] == ["light"] * 10
    assert order[10:].count("light") <= 4
    assert after[0] is not None
    assert after[0].rank < min(ranks[-14:])


def test_a_request_that_was_saved_up_for_interrupts_a_quantum_and_alone_is_taken_beyond_the_room() -> None:
    queue: FairQueue[Read] = FairQueue(1_000, burst_tokens=100)
    for k in range(3):
        queue.add(work(f"heavy{k}", [[10] * 50] * 2))
    for _ in range(120):
        assert queue.take() is not None
    assert queue.take(only_saved=True) is None
    queue.add(work("large", [[10] * 11]))
    assert queue.take(only_saved=True) is None
    queue.add(work("small", [[10] * 4]))
    order = [taken.work.experiment for taken in iter(lambda: queue.take(only_saved=True), None)]
    assert order == ["small"] * 4
    queue.add(work("small", [[10] * 7]))  # more than is left
    assert queue.take(only_saved=True) is None
    assert queue.num_experiments == 5


def test_a_higher_priority_goes_first_and_interrupts_a_quantum() -> None:
    queue: FairQueue[Read] = FairQueue(1_000)
    queue.add(work("a", [[1] * 4]))
    assert queue.take() is not None
    queue.add(work("b", [[1] * 3], priority=1))
    queue.add(work("c", [[1] * 2], priority=-1))
    rest = [taken for taken in iter(queue.take, None)]
    assert [taken.work.experiment for taken in rest] == ["b"] * 3 + ["a"] * 3 + ["c"] * 2
    assert [taken.rank for taken in rest] == sorted(taken.rank for taken in rest)


@settings(deadline=None)
@given(COSTS, st.integers(0, 10))
def test_what_is_removed_is_not_taken(costs: list[list[int]], num_taken: int) -> None:
    queue: FairQueue[Read] = FairQueue(1_000)
    gone, kept = work("a", costs, request=0), work("a", costs, request=1)
    other = work("b", costs, request=2)
    for one in (gone, kept, other):
        queue.add(one)
    before = [queue.take() for _ in range(num_taken)]
    queue.remove(gone)
    queue.remove(gone)
    rest = all_of(queue)
    assert not any(read.request == 0 for read in rest)
    others = [read for read in [*(taken.read for taken in before if taken), *rest] if read.request]
    assert len(others) == len(set(others)) == 2 * sum(map(len, costs))


def test_paused_work_waits_and_holds_up_nobody() -> None:
    queue: FairQueue[Read] = FairQueue(1_000)
    slow, next_one, other = work("a", [[1, 1]] * 2), work("a", [[1]], request=1), work("b", [[1]])
    for one in (slow, next_one, other):
        queue.add(one)
    assert queue.take() is not None
    slow.paused = True
    rest = all_of(queue)
    assert sorted((read.experiment, read.request) for read in rest) == [("a", 1), ("b", 0)]
    slow.paused = False
    assert [read.number for read in all_of(queue)] == [1, 2, 3]


def test_work_without_reads_is_nothing() -> None:
    queue: FairQueue[Read] = FairQueue(1_000)
    queue.add(Work("a", []))
    assert queue.take() is None
