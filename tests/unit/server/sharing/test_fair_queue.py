"""The fair queue as a machine without a clock: who is served how much, in which order, and who never waits for ever."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import count, pairwise
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icm_server.auth.tenant import ExperimentId
from icm_server.sharing.fair_queue import TURN, FairQueue, Quantum, Work
from icm_server.sharing.fair_share import MAX_IDLE


class Read(NamedTuple):
    experiment: str
    request: int
    number: int
    estimated_new_tokens: int
    computed: int


def work(
    experiment: str,
    costs: Sequence[Sequence[int]],
    *,
    key: str = "key",
    weight: float = 1.0,
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
    return Work(ExperimentId(key, experiment), quanta, priority, weight)


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
        queue.correct(taken.work, read.computed - read.estimated_new_tokens)
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
            own = [k for k, request in enumerate(requests) if request[0] == name and request[2] == priority]
            order = [read.request for read in reads if read.request in own]
            assert order == sorted(order)


@pytest.mark.slow
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
        served[taken.work.experiment_id.experiment] += taken.read.estimated_new_tokens
        assert sum(served.values()) <= (TURN * needed + 50) * (num_others + 1)


@pytest.mark.slow
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


def seen(queue: FairQueue[Read], *experiment_ids: tuple[str, str]) -> None:
    """Has each of them ask for something, and be known from then on."""
    for key, experiment in experiment_ids:
        queue.add(work(experiment, [[1]], key=key))
    assert len(all_of(queue)) == len(experiment_ids)


@pytest.mark.parametrize("by_key", [True, False])
def test_who_asks_for_little_now_and_then_has_it_at_once(by_key: bool) -> None:
    """Also where it is more than a quantum, up to a burst; and the engine is asked to let it pass."""
    queue: FairQueue[Read] = FairQueue(1_000, burst_tokens=100)
    light = "light" if by_key else "key"
    seen(queue, (light, "light"))
    for k in range(7):
        queue.add(work(f"heavy{k}", [[10]] * 100, key=f"heavy{k}" if by_key else "key"))
    ranks = []
    for _ in range(150):
        taken = queue.take()
        assert taken is not None
        ranks.append(taken.rank)
    queue.add(work("light", [[10]] * 20, key=light))
    after = [queue.take() for _ in range(30)]
    order = [taken.work.experiment_id.experiment for taken in after if taken]
    assert order[:10] == ["light"] * 10
    assert order[10:].count("light") <= 4
    assert after[0] is not None
    assert after[0].rank < min(ranks[-14:])


def test_a_request_that_was_saved_up_for_interrupts_a_quantum_and_alone_is_taken_beyond_the_room() -> None:
    queue: FairQueue[Read] = FairQueue(1_000, burst_tokens=100)
    seen(queue, ("key", "large"), ("key", "small"))
    for k in range(3):
        queue.add(work(f"heavy{k}", [[10] * 50] * 2))
    for _ in range(170):  # somebody's second turn has come, so 500 tokens are behind
        assert queue.take() is not None
    assert queue.take(only_saved=True) is None
    queue.add(work("large", [[10] * 11]))
    assert queue.take(only_saved=True) is None
    queue.add(work("small", [[10] * 4]))
    order = [taken.work.experiment_id.experiment for taken in iter(lambda: queue.take(only_saved=True), None)]
    assert order == ["small"] * 4
    queue.add(work("small", [[10] * 7]))  # more than is left
    assert queue.take(only_saved=True) is None
    assert queue.is_shared


def test_a_higher_priority_goes_first_and_interrupts_a_quantum() -> None:
    queue: FairQueue[Read] = FairQueue(1_000)
    queue.add(work("a", [[1] * 4]))
    assert queue.take() is not None
    queue.add(work("b", [[1] * 3], priority=1))
    queue.add(work("c", [[1] * 2], priority=-1))
    rest = [taken for taken in iter(queue.take, None)]
    assert [taken.work.experiment_id.experiment for taken in rest] == ["b"] * 3 + ["a"] * 3 + ["c"] * 2
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
    queue.add(Work(ExperimentId("key", "a"), []))
    assert queue.take() is None


WEIGHTS = st.lists(st.sampled_from([0.5, 1.0, 2.0, 3.0]), min_size=2, max_size=4)


@pytest.mark.slow
@settings(deadline=None)
@given(WEIGHTS, st.lists(st.integers(1, 12), min_size=4, max_size=4), st.booleans(), st.integers(20, 400))
def test_keys_share_by_their_weights_whatever_names_they_use(
    weights: list[float], num_names: list[int], fresh: bool, cache_tokens: int
) -> None:
    """Some always have work under many names at once, or a name that nobody has seen for every request."""
    queue: FairQueue[Read] = FairQueue(cache_tokens, burst_tokens=60)
    numbers = count()
    served = dict.fromkeys(range(len(weights)), 0)

    def ask(key: int, slot: int) -> None:
        name = f"{next(numbers)}" if fresh else f"{slot}"
        one = work(name, [[7, 5]] * 2, key=f"{key}", weight=weights[key], request=slot, cache_tokens=10)
        queue.add(one)

    for key in served:
        for slot in range(num_names[key]):
            ask(key, slot)
    while sum(served.values()) < 20_000:
        taken = queue.take()
        assert taken is not None
        key = int(taken.work.experiment_id.tenant)
        served[key] += taken.read.estimated_new_tokens
        if taken.read.number == 3:
            ask(key, taken.read.request)
    each = [served[key] / weight for key, weight in enumerate(weights)]
    assert max(each) - min(each) <= (TURN * 10 + 60 + 24) * 2 / min(weights)


def test_within_a_key_experiments_share_alike_whatever_the_other_key_has() -> None:
    queue: FairQueue[Read] = FairQueue(1_000, {"a": 3.0})
    for name in "abc":
        queue.add(work(name, [[10]] * 500, key="many"))
    queue.add(work("a", [[10]] * 500, key="one"))
    served: dict[ExperimentId, int] = defaultdict(int)
    for _ in range(500):
        taken = queue.take()
        assert taken is not None
        served[taken.work.experiment_id] += 1
    assert served[ExperimentId("one", "a")] == pytest.approx(250, abs=2)
    assert [served[ExperimentId("many", name)] for name in "abc"] == pytest.approx([150, 50, 50], abs=2)


@pytest.mark.parametrize("same_key", [True, False])
def test_a_fresh_name_for_every_request_gains_nothing(same_key: bool) -> None:
    """One request at a time, each under another name, beside one experiment that always has work."""
    queue: FairQueue[Read] = FairQueue(1_000, burst_tokens=500)
    steady = "key" if same_key else "other"
    seen(queue, (steady, "steady"), ("key", "first"))
    queue.add(work("steady", [[10] * 5] * 1_000, key=steady))
    queue.add(work("fresh", [[10] * 2], request=1))
    served: dict[bool, int] = defaultdict(int)
    for number in range(800):
        taken = queue.take()
        assert taken is not None
        is_fresh = taken.read.request == 1
        served[is_fresh] += taken.read.estimated_new_tokens
        if is_fresh and taken.read.number == 1:
            queue.add(work(f"fresh{number}", [[10] * 2], request=1))
    assert served[True] <= served[False] + 500 + 100  # its key's savings, which it has once


def test_a_name_that_was_seen_stays_known_while_nobody_waits_and_other_keys_cannot_push_it_out() -> None:
    queue: FairQueue[Read] = FairQueue(1_000, burst_tokens=100)
    seen(queue, ("key", "known"), *(("other", f"{number}") for number in range(MAX_IDLE + 9)))
    for name in ("steady", "steady-too"):
        queue.add(work(name, [[10]] * 100))
    for _ in range(100):
        queue.take()
    known, new = work("known", [[10]] * 4), work("new", [[10]] * 4)
    queue.add(new)
    queue.add(known)
    assert [queue.is_saved(each) for each in (known, new)] == [True, False]


def test_names_that_are_remembered_are_bounded() -> None:
    queue: FairQueue[Read] = FairQueue(1_000)
    for number in range(3 * MAX_IDLE):
        queue.add(work(f"{number}", [[1]], key=f"{number % 2}"))
        assert queue.take() is not None
    (level,) = queue._classes.values()
    assert [len(key.below.idle) for key in level.idle.values()] == [MAX_IDLE] * 2


def test_one_name_under_two_keys_is_two_experiments() -> None:
    queue: FairQueue[Read] = FairQueue(1_000)
    queue.add(work("a", [[1]] * 3, key="one", cache_tokens=5))
    assert not queue.is_shared
    queue.add(work("a", [[1]] * 3, key="two", cache_tokens=7))
    assert queue.is_shared
    assert queue.without_place() == {ExperimentId("one", "a"), ExperimentId("two", "a")}
    queue.take()
    queue.take()
    assert queue.interleaved() == {ExperimentId("one", "a"): 5, ExperimentId("two", "a"): 7}


def test_what_is_saved_within_a_key_is_not_taken_from_another_key() -> None:
    """A small request beside a large one of its own key does not interrupt another key's quantum."""
    queue: FairQueue[Read] = FairQueue(1_000, burst_tokens=100)
    seen(queue, ("one", "small"), ("one", "large"), ("two", "large"))
    for key in ("one", "two"):
        queue.add(work("large", [[10] * 10] * 20, key=key))
    while (taken := queue.take()) is not None and (taken.work.experiment_id.tenant, taken.read.number % 10) != (
        "two",
        3,
    ):
        pass
    small = work("small", [[10] * 2], key="one")
    queue.add(small)
    assert queue.take(only_saved=True) is None
    after = [taken.work for taken in (queue.take() for _ in range(8)) if taken]
    assert [each.experiment_id.tenant for each in after] == ["two"] * 6 + ["one"] * 2
    assert after[6:] == [small] * 2


CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["add", "take", "take", "remove", "pause", "resume"]),
        st.sampled_from(["k1", "k2", "k3"]),
        st.sampled_from(NAMES),
        st.integers(-1, 1),
        COSTS,
        st.integers(1, 60),
    ),
    max_size=40,
)


@settings(deadline=None)
@given(CHANGES, st.data())
def test_no_read_is_lost_or_taken_twice_whatever_comes_goes_and_pauses(
    changes: list[tuple[str, str, str, int, list[list[int]], int]], data: st.DataObject
) -> None:
    queue: FairQueue[Read] = FairQueue(100, burst_tokens=40)
    works: list[Work[Read]] = []
    removed: set[int] = set()
    taken: list[Read] = []
    for what, key, name, priority, costs, cache_tokens in changes:
        if what == "add":
            one = work(name, costs, key=key, request=len(works), priority=priority, cache_tokens=cache_tokens)
            works.append(one)
            queue.add(one)
        elif what == "take":
            found = queue.take(only_saved=data.draw(st.booleans()))
            if found is not None:
                assert not found.work.paused
                taken.append(found.read)
                queue.correct(found.work, data.draw(st.integers(-30, 30)))
        elif works:
            number = data.draw(st.integers(0, len(works) - 1))
            works[number].paused = what == "pause"
            if what == "remove":
                queue.remove(works[number])
                removed.add(number)
    for one in works:
        one.paused = False
    taken += all_of(queue)
    for number, one in enumerate(works):
        own = [read.number for read in taken if read.request == number]
        total = sum(len(quantum.reads) for quantum in one.quanta)
        assert own == list(range(len(own)))
        assert len(own) == total or number in removed
    assert not queue.interleaved()
    assert not queue.without_place()
    assert not queue.is_shared
