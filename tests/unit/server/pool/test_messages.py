"""Reads as messages: what goes in comes out, and of neighbours only the difference travels."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from icm_client.contract.errors import RequestError, ScorerError
from icm_server.engines.fake import FakeEngine
from icm_server.pool.messages import Read, SentReads, described, error_of, packed_error, ready_of

READS = st.builds(
    Read,
    st.lists(st.integers(0, 3), max_size=6),
    st.lists(st.integers(0, 2**31), min_size=1, max_size=3),
    st.sampled_from(["base", "1-abc"]),
    st.integers(-(2**60), 2**60),
    st.sampled_from([None, "owner"]),
)


@given(st.lists(READS, max_size=8))
def test_reads_arrive_as_they_were_sent(reads: list[Read]) -> None:
    packing, unpacking = SentReads(), SentReads()
    packed = json.loads(json.dumps([packing.packed(number, read) for number, read in enumerate(reads)]))
    assert [unpacking.unpacked(item) for item in packed] == list(enumerate(reads))


def test_a_shared_prefix_travels_once() -> None:
    packing, context = SentReads(), list(range(5000))
    sizes = [len(packing.packed(0, Read([*context, number], [1, 2], "base", 0, None))[2]) for number in range(3)]
    assert sizes == [5001, 1, 1]


def test_an_engine_and_its_errors_are_described() -> None:
    engine = FakeEngine(seed=3)
    ready = ready_of(json.loads(json.dumps(described(engine))))
    assert (ready.info, ready.identity, ready.cache_tokens) == (engine.info, engine.identity, engine.cache_tokens)
    assert ready.adapters is not None
    assert (ready.adapters.base, ready.adapters.max_rank) == (engine.adapters.base, engine.adapters.max_rank)
    mistake = error_of(packed_error(RequestError("no such rank", code="bad_adapter")))
    assert (type(mistake), mistake.message, mistake.code) == (RequestError, "no such rank", "bad_adapter")
    assert isinstance(error_of(packed_error(KeyError("x"))), ScorerError)
