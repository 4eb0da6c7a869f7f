"""The fake engine: the same answer however it is asked, and something to learn from the context."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from icm_server.engines.base import ReadAnswer
from icm_server.engines.fake import FakeEngine

SHOTS = [
    ("big red fish swims", " living"),
    ("hard steel tool cuts", " object"),
    ("big blue fish swims", " living"),
    ("hard iron tool drills", " object"),
]


def ids(engine: FakeEngine, text: str) -> list[int]:
    return engine.tokenizer.encode_many([text])[0].ids


def read(engine: FakeEngine, text: str, labels: Sequence[str] = (" living", " object")) -> ReadAnswer:
    return asyncio.run(engine.read(ids(engine, text), [ids(engine, label)[0] for label in labels], "base"))


def prompt(query: str, shots: Sequence[tuple[str, str]] = SHOTS) -> str:
    context = "".join(f"\n\nThing: {text}\nGroup:{label}" for text, label in shots)
    return f"{context}\n\nThing: {query}\nGroup:"


def test_an_example_is_labelled_as_those_that_share_its_words() -> None:
    engine = FakeEngine()
    living, thing = read(engine, prompt("a fish swims")).logprobs
    assert living > thing + 0.5
    living, thing = read(engine, prompt("one steel tool")).logprobs
    assert thing > living + 0.5


def test_swapped_labels_in_the_context_swap_the_answer() -> None:
    engine = FakeEngine()
    swapped = [(text, " object" if label == " living" else " living") for text, label in SHOTS]
    living, thing = read(engine, prompt("a fish swims", swapped)).logprobs
    assert thing > living + 0.5


def test_labels_miss_some_mass_and_less_of_it_with_a_context() -> None:
    engine = FakeEngine()
    alone = sum(map(math.exp, read(engine, prompt("a fish", [])).logprobs))
    shown = sum(map(math.exp, read(engine, prompt("a fish")).logprobs))
    assert 0 < alone < 0.05
    assert 0.5 < shown < 1


def test_the_seed_changes_answers_and_the_digest() -> None:
    one, other = FakeEngine(seed=1), FakeEngine(seed=2)
    assert read(one, "Group:").logprobs != read(other, "Group:").logprobs
    assert one.info.digest != other.info.digest


@given(st.lists(st.text("ab \n:", max_size=60), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_answers_do_not_depend_on_order_company_or_what_else_is_read(texts: list[str], rng: object) -> None:
    texts = ["x" + text for text in texts]
    alone = {text: read(FakeEngine(), text, [" a", " b", "a"]).logprobs for text in texts}
    engine = FakeEngine()

    async def all_at_once() -> list[ReadAnswer]:
        label_ids = [ids(engine, label)[0] for label in ("a", " b", " a")]
        return await asyncio.gather(*(engine.read(ids(engine, text), label_ids, "base") for text in reversed(texts)))

    for text, answer in zip(reversed(texts), asyncio.run(all_at_once()), strict=True):
        assert answer.logprobs[::-1] == alone[text]
    for text in texts:
        assert read(engine, text, [" b"]).logprobs == alone[text][1:2]


def test_cached_tokens_are_whole_blocks_of_a_shared_prefix() -> None:
    engine = FakeEngine()
    context = " w" * 40
    assert read(engine, context + " a").num_cached_tokens == 0
    assert read(engine, context + " b").num_cached_tokens == 32
    assert read(engine, context + " b").num_cached_tokens == 32
    assert read(engine, " v" + context).num_cached_tokens == 0
    assert read(engine, " w" * 48).num_cached_tokens == 32  # the last token is always computed
    assert read(engine, " w" * 49).num_cached_tokens == 48
