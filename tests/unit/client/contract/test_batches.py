"""A request cut into parts asks the same texts, in the same order."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icm_client import RequestError, ScoreRequest
from icm_client.contract.batches import GROW_AFTER, PromptBatches, batches, subset


@st.composite
def requests(draw: st.DrawFn) -> ScoreRequest:
    segments = [f"<{number}>" for number in range(draw(st.integers(1, 6)))]
    segment = st.integers(0, len(segments) - 1)
    prefixes: list[list[int | None]] = []
    for number in range(draw(st.integers(0, 8))):
        parent = draw(st.none() | st.integers(0, number - 1)) if number else None
        prefixes.append([parent, *draw(st.lists(segment, max_size=3))])
    prefix = st.none() | st.integers(0, len(prefixes) - 1) if prefixes else st.none()
    structured = st.tuples(prefix, st.lists(segment, max_size=3)).map(lambda pair: [pair[0], *pair[1]])
    prompts = draw(st.lists(st.sampled_from(["plain", "text"]) | structured, min_size=1, max_size=20))
    return ScoreRequest(
        segments=segments,
        prefixes=prefixes,
        prompts=prompts,
        labels=[" a", [" b", " c"]],
        terminator="\n\n",
        experiment="mine",
        model="adapter",
    )


def parts_of(request: ScoreRequest, max_prompts: int) -> list[ScoreRequest]:
    left = PromptBatches(len(request.prompts), max_prompts)
    return [subset(request, numbers) for numbers in iter(left.take, [])]


def texts(request: ScoreRequest) -> list[str]:
    """Every prompt's whole text."""
    paths: list[str] = []
    for parent, *appended in request.prefixes:
        paths.append(("" if parent is None else paths[parent]) + joined(request, appended))
    return [
        prompt
        if isinstance(prompt, str)
        else ("" if prompt[0] is None else paths[prompt[0]]) + joined(request, prompt[1:])
        for prompt in request.prompts
    ]


def joined(request: ScoreRequest, numbers: list[int | None]) -> str:
    return "".join(request.segments[number] for number in numbers if number is not None)


@settings(max_examples=50, deadline=None)
@given(requests(), st.integers(1, 8))
def test_parts_ask_the_same(request: ScoreRequest, max_prompts: int) -> None:
    parts = parts_of(request, max_prompts)
    assert [text for part in parts for text in texts(part)] == texts(request)
    assert all(len(part.prompts) <= max_prompts for part in parts)
    assert len(parts) == -(-len(request.prompts) // max_prompts)
    for part in parts:
        assert part.model_dump(exclude={"segments", "prefixes", "prompts"}) == request.model_dump(
            exclude={"segments", "prefixes", "prompts"}
        )
        ScoreRequest.model_validate(part.model_dump())
        assert all(parent is None or parent < number for number, (parent, *_) in enumerate(part.prefixes))


@settings(max_examples=50, deadline=None)
@given(requests(), st.integers(1, 8))
def test_parts_carry_only_what_they_use(request: ScoreRequest, max_prompts: int) -> None:
    parts = parts_of(request, max_prompts)
    for part in parts if len(parts) > 1 else []:
        ends = {prompt[0] for prompt in part.prompts if not isinstance(prompt, str)}
        used = {number for number in ends if number is not None}
        for number in sorted(used, reverse=True):
            while (parent := part.prefixes[number][0]) is not None:
                used.add(parent)
                number = parent
        assert used == set(range(len(part.prefixes)))
        rows = [*part.prefixes, *(prompt for prompt in part.prompts if not isinstance(prompt, str))]
        assert {number for row in rows for number in row[1:]} == set(range(len(part.segments)))


def test_a_small_request_stays_as_it_is() -> None:
    request = ScoreRequest(segments=["a", "unused"], prompts=[[None, 0]], labels=[" x"])
    assert parts_of(request, 1) == [request]


def test_a_chain_deeper_than_the_stack() -> None:
    depth = 5000
    prefixes: list[list[int | None]] = [[None, 0], *([number, 0] for number in range(depth - 1))]
    request = ScoreRequest(segments=["s"], prefixes=prefixes, prompts=[[depth - 1], [depth - 1]], labels=[" x"])
    parts = parts_of(request, 1)
    assert [len(texts(part)[0]) for part in parts] == [depth, depth]


@pytest.mark.parametrize(
    ("prefixes", "prompts", "says"),
    [
        ([[0, 0]], [[0], [0]], "prefix 0 refers to prefix 0"),
        ([[1, 0], [0, 0]], [[0], [0]], "prefix 0 refers to prefix 1"),
        ([[None, 7]], [[0], [0]], "prefix 0 refers to segment 7"),
        ([[None, -1]], [[0], [0]], "prefix 0 refers to segment -1"),
        ([], [[None, 0], [0, 0]], "prompt 1 refers to prefix 0"),
        ([[None, 0]], [[0], [-1, 0]], "prompt 1 refers to prefix -1"),
        ([[None, 0]], [[0], [0, None]], "prompt 1 refers to segment null"),
    ],
)
def test_numbers_of_nothing_are_reported(
    prefixes: list[list[int | None]], prompts: list[str | list[int | None]], says: str
) -> None:
    request = ScoreRequest(segments=["s"], prefixes=prefixes, prompts=prompts, labels=[" x"])
    with pytest.raises(RequestError, match=says):
        parts_of(request, 1)


@given(st.lists(st.text(max_size=12), max_size=30), st.integers(1, 5), st.integers(1, 20))
def test_texts_are_cut_by_number_and_length(some: list[str], max_texts: int, max_chars: int) -> None:
    found = list(batches(some, max_chars, max_texts))
    assert [text for batch in found for text in batch] == some
    for batch in found:
        assert 1 <= len(batch) <= max_texts
        assert len(batch) == 1 or sum(map(len, batch)) <= max_chars


def test_batches_shrink_when_they_are_too_large_and_grow_again() -> None:
    left = PromptBatches(128, 16)
    first = left.take()
    left.too_large(first[1:])  # one of them was answered before
    assert left.take() == list(range(1, 9))
    left.too_large(range(1, 9))
    sizes, numbers = [], []
    while some := left.take():
        numbers += some
        sizes.append(len(some))
        left.accepted()
    assert numbers == list(range(1, 128))
    assert sizes == [4] * GROW_AFTER + [8] * GROW_AFTER + [16, 15]


def test_batches_never_grow_beyond_what_was_asked_for() -> None:
    left = PromptBatches(100, 2)
    while some := left.take():
        assert len(some) == 2
        left.accepted()
