"""A request in parts: subtrees for several engines, read at once."""

from __future__ import annotations

from itertools import chain

from tests.pools import tree_pass

from icm_client.contract.wire import ScoreRequest
from icm_server.engines.base import Part
from icm_server.engines.fake import FakeTokenizer
from icm_server.scheduling.parts import interleaved
from icm_server.scheduling.request_plan import Planner, RequestPlan
from icm_server.sharing.steps import finished
from icm_server.tokens.prefix_tokens import PrefixTokenizer


def plan(request: ScoreRequest, num_parts: int) -> RequestPlan:
    tokenizer = PrefixTokenizer(FakeTokenizer(), max_prompt_tokens=2**20, max_request_tokens=2**24)
    planner = Planner(tokenizer, tokenizer, 2**20, lambda keys: {}, 2**20)
    return finished(planner.plan(request, b"", num_parts))


def prompts(found: RequestPlan) -> dict[Part, list[int]]:
    by_part: dict[Part, list[int]] = {}
    for quantum in found.quanta:
        assert len({read.part for read in quantum.reads}) == 1
        for read in quantum.reads:
            by_part.setdefault(read.part, []).append(read.prompt)
    return by_part


def test_the_halves_of_a_tree_are_two_parts_whose_quanta_alternate() -> None:
    request = tree_pass(33, 1)
    whole, halves = plan(request, 1), plan(request, 2)
    assert list(prompts(whole).values()) == [list(range(33))]
    assert list(prompts(halves).values()) == [list(range(16)), list(range(16, 33))]
    assert [part.number for part in prompts(halves)] == [0, 1]
    assert [quantum.reads[0].part.number for quantum in halves.quanta[:4]] == [0, 1, 0, 1]
    assert max(quantum.cache_tokens for quantum in halves.quanta) > max(q.cache_tokens for q in whole.quanta)
    assert halves.estimated_new_tokens == whole.estimated_new_tokens
    assert len(prompts(plan(request, 8))) in range(7, 10)


def test_rows_behind_one_context_are_parts_with_the_context_s_key() -> None:
    def rows(words: str) -> ScoreRequest:
        segments = [" context" * 300, *(f" {words}{number}" for number in range(40))]
        return ScoreRequest(
            segments=segments, prefixes=[[None, 0]], prompts=[[0, n] for n in range(1, 41)], labels=[" a", " b"]
        )

    found, later = prompts(plan(rows("x"), 2)), prompts(plan(rows("y"), 2))
    assert list(found) == list(later)
    assert [part.number for part in found] == [0, 1]
    assert list(chain.from_iterable(found.values())) == list(range(40))


def test_interleaving_loses_nothing() -> None:
    assert interleaved([[1, 2, 3], [4], [5, 6]]) == [1, 4, 5, 2, 6, 3]
