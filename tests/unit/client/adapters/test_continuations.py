"""Requests for continuations: every pair is asked for, and a scorer takes them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.conftest import Serving

from icm_client.adapters.continuations import requests_of
from icm_client.contract.wire import label_texts

TEXTS = st.text(alphabet="ab", min_size=1, max_size=4).map(lambda text: f" {text}")
PAIRS = st.lists(st.tuples(st.sampled_from(["Q one", "Q two", "Q three"]), TEXTS), max_size=30)


@given(PAIRS)
def test_every_pair_is_asked_for_and_no_label_begins_another(pairs: list[tuple[str, str]]) -> None:
    asked = set()
    for request in requests_of(pairs, "here", "base"):
        labels = [label_texts(label)[0] for label in request.labels]
        assert not any(a != b and a.startswith(b) for a in labels for b in labels)
        for prompt in request.prompts:
            for label in labels:
                assert (prompt, label) not in asked
                asked.add((prompt, label))
    assert asked == set(pairs)


async def test_contexts_with_the_same_answers_share_a_request(serving: Serving) -> None:
    pairs = [(f"Q {number}", answer) for number in range(50) for answer in (" yes", " yes indeed", " no")]
    requests = list(requests_of(pairs, "here", "base"))
    assert [(len(request.prompts), len(request.labels)) for request in requests] == [(50, 2), (50, 1)]
    async with serving() as client:
        for request in requests:
            assert len((await client.score(request)).logprobs) == 50
