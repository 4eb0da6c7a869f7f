"""Any OpenAI-compatible endpoint as a scorer: equal to an icm-server's answers, or refused."""

from __future__ import annotations

import asyncio
import functools
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import openai_app
from tests.openai_app import FakeEndpoint, Spoil
from tests.tiny_models import EACH_STYLE, STYLES, of_transformers

from icm_client import AccessError, OpenAIScorer, RequestError, ScoreRequest, ScorerError, UnavailableError
from icm_client.contract.label_trie import MAX_READ_IDS
from icm_client.contract.wire import ScoreResponse
from icm_client.http.retry import RetryPolicy
from icm_client.openai_compat.reads import MAX_PROMPTS, MAX_REQUESTS, MAX_SIZE, EndpointRead, batches
from icm_server.engines.fake import FakeEngine
from icm_server.engines.hf_tokenizer import HfTokenizer
from icm_server.scheduling.scoring import ScoringService

REQUEST = ScoreRequest(
    segments=[
        "Word: cod\nGroup: living",
        "\n\nWord: cup\nGroup: object",
        "\n\nWord: old hen\nGroup:",
        "\n\nWord: pan\nGroup:",
    ],
    prefixes=[[None, 0], [0, 1]],
    prompts=[[1, 2], [0, 3], "Word: cod\nGroup:", [1, 3], [0, 2], [None, 0, 1, 2]],
    labels=[" living", " object"],
    terminator="\n\n",
)
LABELS = [[" living", " alive"], " object", " sea animal", " sea thing here"]


async def opened(endpoint: FakeEndpoint, **settings: Any) -> OpenAIScorer:
    settings = {"retry": RetryPolicy(0.0), **settings}
    return await OpenAIScorer.open("http://it", transport=httpx.ASGITransport(app=endpoint.app), **settings)


@asynccontextmanager
async def scoring(endpoint: FakeEndpoint, **settings: Any) -> AsyncIterator[OpenAIScorer]:
    async with await opened(endpoint, **settings) as scorer:
        endpoint.asked.clear()  # what was asked by the probe
        yield scorer


async def expected(request: ScoreRequest, engine: FakeEngine | None = None) -> ScoreResponse:
    return await ScoringService(engine or FakeEngine()).score(request)


def same(found: list[list[float]], others: list[list[float]]) -> bool:
    return all(row == pytest.approx(other, abs=1e-9) for row, other in zip(found, others, strict=True))


def with_bos() -> FakeEngine:
    engine = FakeEngine()
    engine.tokenizer.bos = [7]
    return engine


@pytest.mark.parametrize("labels", [[" living", " object"], LABELS, [[f" x{k} y", f" x{k} z"] for k in range(200)]])
@pytest.mark.parametrize("bos", [False, True])
async def test_tokens_are_scored_as_by_an_icm_server(labels: list[Any], bos: bool) -> None:
    request = REQUEST.model_copy(update={"labels": labels})
    engine = with_bos() if bos else FakeEngine()
    theirs = await expected(request, engine)
    async with scoring(FakeEndpoint(engine)) as scorer:
        ours = await scorer.score(request)
        assert await scorer.count_tokens(["a b c", "", "\n\nWord: cod"]) == [3, 0, 3]
        assert (await scorer.model()).adds_bos == bos
    assert same(ours.logprobs, theirs.logprobs)
    assert len({tuple(row) for row in ours.logprobs}) == 5
    counted = ("prompt_tokens", "num_reads", "read_cache_prompts")
    assert ours.usage.model_dump(include=set(counted)) == theirs.usage.model_dump(include=set(counted))
    assert ours.usage.computed_tokens == theirs.usage.computed_tokens + theirs.usage.cached_tokens


@pytest.mark.parametrize("settings", [{"takes_lists": False}, {"counts_cached": True}])
async def test_prompts_one_by_one(settings: dict[str, Any]) -> None:
    context = "Word: cod\nGroup: living\n\n" * 12
    request = ScoreRequest(prompts=[f"{context}Word: {k}\nGroup:" for k in range(9)], labels=LABELS)
    endpoint = FakeEndpoint(**settings)
    async with scoring(endpoint) as scorer:
        ours = await scorer.score(request)
    assert all(isinstance(body["prompt"][0], int) for body in endpoint.asked)
    theirs = await expected(request)
    assert same(ours.logprobs, theirs.logprobs)
    if "counts_cached" in settings:
        assert ours.usage == theirs.usage.model_copy(update={"joined_texts": 9})
        assert ours.usage.cached_tokens > ours.usage.computed_tokens


@functools.cache
def styled(style: str) -> FakeEngine:
    engine: Any = FakeEngine()
    engine.tokenizer = HfTokenizer(of_transformers(STYLES[style]()))
    return engine


@functools.cache
def styled_scorer(style: str) -> OpenAIScorer:
    """Of one scorer what it remembers is tried too."""
    return asyncio.run(opened(FakeEndpoint(styled(style))))


PIECES = [
    "\n\nWord: salmon\nGroup: living",
    "\n\nWord: hammer, a thing\nGroup:",
    " living",
    "a ",
    "<",
    "s",
    ">",
    "12",
    "é",
]
SEGMENTS = st.one_of(st.sampled_from(PIECES), st.text(alphabet="ab '\n1\u0301:", max_size=24))


@pytest.mark.slow
@pytest.mark.parametrize("style", EACH_STYLE)
@settings(max_examples=60)
@given(data=st.data())
def test_any_tokenizers_tokens_are_scored_as_by_an_icm_server(style: str, data: st.DataObject) -> None:
    segments = data.draw(st.lists(SEGMENTS, min_size=1, max_size=6))
    numbers = st.lists(st.integers(0, len(segments) - 1), min_size=1, max_size=3)
    request = ScoreRequest(
        segments=segments,
        prefixes=[[None, *data.draw(numbers)]],
        prompts=[[data.draw(st.sampled_from([None, 0])), *data.draw(numbers)] for _ in range(2)],
        labels=data.draw(st.sampled_from([[" living", " object"], [" male", "12"], ["s", " Word Group", " the Word"]])),
        terminator=data.draw(st.sampled_from([None, "\n\n"])),
    )
    ours = _answer_or_code(styled_scorer(style).score(request))
    theirs = _answer_or_code(expected(request, styled(style)))
    if isinstance(ours, str) and isinstance(theirs, str):
        # Which of two faults is reported first may differ.
        faults = {"empty_prompt", "label_merges", "duplicate_label", "ambiguous_labels", "empty_terminator"}
        assert {ours, theirs} <= faults
    elif isinstance(ours, str):
        # What only a terminator tells apart is left to the icm-server.
        assert (ours, request.terminator is None) == ("ambiguous_labels", False)
    elif isinstance(theirs, str):
        assert theirs == "empty_terminator"
    else:
        assert same(ours, theirs)


@pytest.mark.parametrize("labels", [[" living", " object"], ["s", " Word Group", " the Word"]])
def test_a_segment_that_nobody_uses_decides_nothing(labels: list[str]) -> None:
    """What stands behind a label in contexts is looked for in texts that are used, as an icm-server does."""
    unused = "\n\nWord: salmon\nGroup: living"
    request = ScoreRequest(segments=[" living", unused], prompts=[[None, 0]], labels=labels, terminator="\n\n")
    ours = _answer_or_code(styled_scorer("llama2").score(request))
    theirs = _answer_or_code(expected(request, styled("llama2")))
    assert ours == theirs if isinstance(theirs, str) else same(ours, theirs)  # type: ignore[arg-type]


def _answer_or_code(answer: Any) -> list[list[float]] | str:
    try:
        return asyncio.run(answer).logprobs  # type: ignore[no-any-return]
    except RequestError as refusal:
        return refusal.code


@pytest.mark.parametrize("settings", [{}, {"chat_shape": True}, {"max_top": 5}, {"takes_lists": False}])
async def test_the_likeliest_tokens_are_enough_where_labels_are_among_them(settings: dict[str, Any]) -> None:
    request = REQUEST.model_copy(update={"prompts": [[1, 2], [1, 3]], "labels": [" living", " object"]})
    endpoint = FakeEndpoint(takes_ids=False, **settings)
    async with scoring(endpoint) as scorer:
        ours = await scorer.score(request)
        assert await scorer.count_tokens(["a b c", "", "\n\nWord: cod"]) == [3, 0, 3]
        assert not (await scorer.model()).adds_bos
        assert len(scorer.notes) == 1
        assert "the run stops" in scorer.notes[0]
    assert same(ours.logprobs, (await expected(request)).logprobs)
    assert ours.usage.prompt_tokens == ours.usage.computed_tokens == 33
    assert {body["logprobs"] for body in endpoint.asked[:1]} == {min(settings.get("max_top", 20), 20)}


async def test_aliases_of_a_label_add_up_by_text_too() -> None:
    request = REQUEST.model_copy(update={"prompts": [[1, 2]], "labels": [[" living", " Group:"], " object"]})
    async with scoring(FakeEndpoint(takes_ids=False)) as scorer:
        assert same((await scorer.score(request)).logprobs, (await expected(request)).logprobs)


async def test_tokens_that_a_text_endpoint_adds_are_not_the_texts() -> None:
    async with scoring(FakeEndpoint(with_bos(), takes_ids=False)) as scorer:
        assert await scorer.count_tokens(["a b c"]) == [3]
        assert (await scorer.model()).adds_bos


async def test_a_label_that_falls_out_stops_the_run() -> None:
    request = REQUEST.model_copy(update={"labels": [" living", " sea animal"]})
    async with scoring(FakeEndpoint(takes_ids=False)) as scorer:
        with pytest.raises(RequestError, match=r"the label ' sea animal' is not among the 1\d likeliest") as raised:
            await scorer.score(request)
    message = raised.value.message
    assert "after 5 of 5 prompts, such as prompt " in message
    assert "Group:" in message
    assert "logprob_token_ids" in message
    assert "\n" not in message
    assert raised.value.code == "label_fell_out"
    assert sorted(raised.value.details["prompts"]) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("takes_ids", [True, False])
@pytest.mark.parametrize(
    ("spoil", "code", "says"),
    [
        (openai_app.each_value(lambda value: 0.0), "constant", "gives every token the same log-probability, 0.0"),
        (openai_app.same_for_all_prompts, "constant", "do not depend on the prompt"),
        (openai_app.each_value(lambda value: math.nan), "nan_value", "has NaN"),
        (openai_app.each_value(lambda value: None), "nan_value", "has NaN"),
        (openai_app.each_value(lambda value: "-1"), "nan_value", "has NaN"),
        (openai_app.each_value(lambda value: -math.inf), "infinite_value", "has minus infinity"),
        (openai_app.each_value(lambda value: -9999.0), "infinite_value", "has minus infinity"),
        (openai_app.each_value(math.exp), "positive_value", "which is above 0"),
        (openai_app.without, "missing_value", "returns no log-probabilities"),
        (lambda place, top, body: {}, "missing_value", "returns no log-probabilities"),
        (openai_app.ByTurn(), "order_dependent", "when a prompt is repeated"),
        (openai_app.by_place, "order_dependent", "when other prompts are in the same request"),
    ],
)
async def test_an_endpoint_that_cannot_be_believed_is_refused(
    takes_ids: bool, spoil: Spoil, code: str, says: str
) -> None:
    with pytest.raises(ScorerError, match=says) as raised:
        await opened(FakeEndpoint(takes_ids=takes_ids, spoil=spoil))
    assert raised.value.code == code
    assert raised.value.message.startswith("http://it cannot be used as a scorer: ")
    assert "\n" not in raised.value.message


async def test_values_that_follow_the_order_of_the_labels_are_refused() -> None:
    with pytest.raises(ScorerError, match="when the labels are requested in another order"):
        await opened(FakeEndpoint(spoil=openai_app.by_order))


async def test_an_endpoint_that_ignores_ids_is_asked_for_texts() -> None:
    def only_the_sampled(place: int, top: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
        return {"token_id:12345": -0.5} if "logprob_token_ids" in body else top

    async with scoring(FakeEndpoint(spoil=only_the_sampled)) as scorer:
        assert "does not support logprob_token_ids" in scorer.notes[0]


@pytest.mark.parametrize(
    ("value", "code"), [(None, "missing_value"), (math.nan, "nan_value"), (-1e9, "infinite_value")]
)
async def test_what_goes_wrong_after_the_probe_never_becomes_labels(value: Any, code: str) -> None:
    endpoint = FakeEndpoint()
    async with scoring(endpoint) as scorer:
        endpoint.spoil = lambda place, top, body: {
            token: value if token == max(top) else other for token, other in top.items() if value or token != max(top)
        }
        with pytest.raises(ScorerError, match="after prompt") as raised:
            await scorer.score(REQUEST)
    assert raised.value.code == code


@pytest.mark.parametrize("answer", [[], {}, {"choices": []}, {"choices": [1]}, {"choices": "x"}, {"choices": [{}, {}]}])
async def test_an_answer_without_a_choice_for_every_prompt_is_refused(answer: Any) -> None:
    endpoint = FakeEndpoint()
    async with scoring(endpoint) as scorer:
        endpoint.faults = [(200, answer)]
        with pytest.raises(ScorerError, match="other than a choice for each of 5 prompts"):
            await scorer.score(REQUEST)


@pytest.mark.parametrize("takes_ids", [True, False])
async def test_prompts_that_are_cut_off_are_noticed(takes_ids: bool) -> None:
    endpoint = FakeEndpoint(takes_ids=takes_ids, max_prompt_tokens=64)
    long = ScoreRequest(prompts=["Word: cod\nGroup: living\n\n" * 40 + "Word: hen\nGroup:"], labels=[" living"])
    async with scoring(endpoint) as scorer:
        await scorer.count_tokens(["Word: cod\nGroup:", "Word: cup\nGroup:"])
        with pytest.raises(ScorerError, match=r"counts 64 prompt tokens where .* were sent: it truncates prompts"):
            await scorer.score(long)


async def test_an_endpoint_that_counts_nothing() -> None:
    async with scoring(FakeEndpoint(counts_tokens=False)) as scorer:
        ours = await scorer.score(REQUEST)
    assert ours.usage.computed_tokens == sum(len(ids) for ids in _distinct_prompts(REQUEST))
    with pytest.raises(ScorerError, match="does not count prompt tokens"):
        await opened(FakeEndpoint(takes_ids=False, counts_tokens=False))


def _distinct_prompts(request: ScoreRequest) -> list[list[int]]:
    texts = {
        "Word: cod\nGroup: living\n\nWord: cup\nGroup: object\n\nWord: old hen\nGroup:",
        "Word: cod\nGroup: living\n\nWord: pan\nGroup:",
        "Word: cod\nGroup:",
        "Word: cod\nGroup: living\n\nWord: cup\nGroup: object\n\nWord: pan\nGroup:",
        "Word: cod\nGroup: living\n\nWord: old hen\nGroup:",
    }
    return [encoded.ids for encoded in FakeEngine().tokenizer.encode_many(sorted(texts))]


@pytest.mark.parametrize(
    ("models", "name", "says"),
    [
        ([], None, "lists no models: choose one with --scorer-model"),
        ([{"id": "one"}, {"id": "two"}], None, r"serves 2 models: choose one with --scorer-model \(one, two\)"),
        ([{"id": "one"}], "fake", "serves no model 'fake'; it lists one"),
        ([], "other", "The model `other` does not exist"),
    ],
)
async def test_which_model_is_not_clear(models: list[dict[str, Any]], name: str | None, says: str) -> None:
    endpoint = FakeEndpoint()
    endpoint.models = models
    with pytest.raises(RequestError, match=says) as raised:
        await opened(endpoint, model=name)
    assert "\n" not in raised.value.message


async def test_adapters_are_models_beside_the_base_model() -> None:
    endpoint = FakeEndpoint()
    endpoint.models += [{"id": "lora", "root": "/lora", "parent": "fake", "max_model_len": None}]
    async with scoring(endpoint) as scorer:
        info = await scorer.model()
        assert (info.name, info.adapters, info.max_prompt_tokens) == ("fake", {"lora": ""}, 8191)
        await scorer.score(REQUEST.model_copy(update={"model": "lora"}))
        assert {body["model"] for body in endpoint.asked} == {"lora"}
        with pytest.raises(RequestError, match="no model 'other': the scorer serves base, lora"):
            await scorer.score(REQUEST.model_copy(update={"model": "other"}))
    async with scoring(endpoint, model="lora") as scorer:
        assert (await scorer.model()).max_prompt_tokens == 8191


async def test_what_the_endpoint_tells_is_the_models_digest() -> None:
    async def digest() -> str:
        async with scoring(endpoint) as scorer:
            return (await scorer.model()).digest

    endpoint = FakeEndpoint()
    digests = [await digest(), await digest()]
    assert digests[0] == digests[1]
    endpoint.models[0] |= {"root": "/other"}
    digests.append(await digest())
    endpoint.version = "0.33.0"
    digests.append(await digest())
    endpoint.fingerprint = "vllm-0.32.0-other"
    digests.append(await digest())
    assert len(set(digests)) == 4
    endpoint.fingerprint = "fp_1"
    digests.append(await digest())
    endpoint.fingerprint = "fp_2"  # hosted models': of the machine that answers
    assert await digest() == digests[-1]


async def test_a_model_that_changes_during_a_run_is_reported() -> None:
    endpoint = FakeEndpoint()
    async with scoring(endpoint) as scorer:
        before = await scorer.model()
        assert (await scorer.score(REQUEST)).model == before
        endpoint.models[0] |= {"root": "/other"}
        assert (await scorer.score(REQUEST)).model.digest != before.digest
        endpoint.models[0] |= {"id": "other"}
        with pytest.raises(RequestError, match="does not exist"):
            await scorer.score(REQUEST)


async def test_what_the_endpoint_tells_of_its_model() -> None:
    async with scoring(FakeEndpoint()) as scorer:
        info = await scorer.model()
    assert (info.engine, info.max_prompt_tokens, info.cache_block_tokens) == ("vllm 0.32.0", 8191, 16)
    hosted = FakeEndpoint(takes_ids=False)
    hosted.models = [{"id": "m", "context_length": 4096}]
    async with scoring(hosted) as scorer:
        info = await scorer.model()
    assert (info.engine, info.max_prompt_tokens, info.cache_block_tokens) == ("openai", 4095, 1)
    hosted.models = [{"id": "m"}]
    async with scoring(hosted) as scorer:
        assert (await scorer.model()).max_prompt_tokens == 2047
        assert "does not report the model's context window" in scorer.notes[-1]


async def test_prompts_are_sent_in_bounded_requests_depth_first() -> None:
    shots = [f"Word: {'abcdefghij'[k % 10]} {k}\nGroup: living\n\n" for k in range(20)]
    order = [(7 * k) % 400 for k in range(400)]
    request = ScoreRequest(
        segments=[*shots, *(f"Word: x{k} y\nGroup:" for k in range(20))],
        prefixes=[[None, k] for k in range(20)],
        prompts=[[k % 20, 20 + k // 20] for k in order],
        labels=[" living", " object"],
    )
    endpoint = FakeEndpoint(FakeEngine(delay_s=0.001))
    async with scoring(endpoint) as scorer:
        ours = await scorer.score(request)
    assert same(ours.logprobs, (await expected(request)).logprobs)
    assert 1 < endpoint.num_most <= MAX_REQUESTS
    assert [len(body["prompt"]) for body in endpoint.asked] == [MAX_PROMPTS] * 12 + [400 % MAX_PROMPTS]
    sent = [tuple(ids) for body in endpoint.asked for ids in body["prompt"]]
    contexts = [ids[:5] for ids in sent]
    assert len({*contexts}) == 1 + sum(one != other for one, other in pairwise(contexts))


async def test_labels_are_tokenized_once_behind_each_example_whatever_its_contexts() -> None:
    examples = [f"\n\nWord: some thing {k}\nGroup:" for k in range(8)]
    shots = ["Word: cod\nGroup: living", "\n\nWord: cup\nGroup: object"]
    endpoint = FakeEndpoint()
    async with scoring(endpoint) as scorer:
        nums = []
        for context in ([0], [0, 1], [1, 0, 1]):
            before = endpoint.num_tokenized
            request = ScoreRequest(
                segments=[*shots, *examples],
                prefixes=[[None, *context]],
                prompts=[[0, 2 + k] for k in range(8)],
                labels=[" living", " object", " sea animal"],
            )
            assert same((await scorer.score(request)).logprobs, (await expected(request)).logprobs)
            nums.append(endpoint.num_tokenized - before)
    assert nums == [8 + 8 + 24, 8, 8]


@given(sizes=st.lists(st.integers(1, MAX_SIZE + 1), min_size=1, max_size=50), num_ids=st.integers(1, MAX_READ_IDS))
def test_requests_hold_all_reads_in_order_within_the_limits(sizes: list[int], num_ids: int) -> None:
    reads = [EndpointRead("x" * size, tuple(range(k % 3, k % 3 + num_ids))) for k, size in enumerate(sizes)]
    cut = batches(reads, MAX_PROMPTS)
    assert [read for batch in cut for read in batch] == reads
    for batch in cut:
        assert len(batch) <= MAX_PROMPTS
        assert len({token for read in batch for token in read.target_ids}) <= MAX_READ_IDS
        assert len(batch) == 1 or sum(len(read.prompt) for read in batch) <= MAX_SIZE
    for batch, following in pairwise(cut):  # none ends without need
        together = [*batch, following[0]]
        assert (
            len(together) > MAX_PROMPTS
            or len({token for read in together for token in read.target_ids}) > MAX_READ_IDS
            or sum(len(read.prompt) for read in together) > MAX_SIZE
        )


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"prompts": [[2, 0]]}, "bad_prefix"),
        ({"prompts": [[0, 4]]}, "bad_segment"),
        ({"prompts": [""]}, "empty_prompt"),
        ({"labels": [" a", " a"]}, "duplicate_label"),
        ({"labels": [" a", ""]}, "empty_label"),
        ({"labels": [" a", " a b"]}, "ambiguous_labels"),
        ({"labels": ["a", "b"]}, "label_merges"),
        ({"labels": [" a", " b"], "prompts": ["x "]}, "label_merges"),
        ({"labels": [" a\n", " b\n"]}, "label_merges"),
        ({"prompts": ["word " * 8191 + "word"]}, "prompt_too_long"),
    ],
)
async def test_what_is_wrong_with_a_request_is_reported(change: dict[str, Any], code: str) -> None:
    async with scoring(FakeEndpoint()) as scorer:
        with pytest.raises(RequestError) as raised:
            await scorer.score(REQUEST.model_copy(update=change))
    assert raised.value.code == code
    assert "\n" not in raised.value.message


async def test_the_key_is_sent_and_a_wrong_one_reported() -> None:
    endpoint = FakeEndpoint(key="secret")
    async with scoring(endpoint, api_key="secret") as scorer:
        await scorer.score(REQUEST)
    with pytest.raises(AccessError, match="http://it/v1/models: Unauthorized"):
        await opened(endpoint, api_key="other")


async def test_an_endpoint_that_is_away_is_waited_for() -> None:
    endpoint = FakeEndpoint()
    reasons: list[str] = []
    retry = RetryPolicy(30.0, first_wait_s=0.001)
    async with scoring(endpoint, retry=retry, on_wait=lambda reason, seconds: reasons.append(reason)) as scorer:
        endpoint.faults = [(503, {"error": {"message": "loading"}}), (429, {}), (502, None)]
        assert same((await scorer.score(REQUEST)).logprobs, (await expected(REQUEST)).logprobs)
    assert len(reasons) == 3
    assert reasons[0] == "http://it/v1/completions: loading"
    with pytest.raises(UnavailableError, match=r"cannot reach the endpoint at http://127.0.0.1:9 "):
        await OpenAIScorer.open("http://127.0.0.1:9", retry=RetryPolicy(0.0))


async def test_something_else_that_answers() -> None:
    from fastapi import FastAPI

    with pytest.raises(RequestError, match="lists no models"):
        await OpenAIScorer.open("http://it", transport=httpx.ASGITransport(app=FastAPI()))
    with pytest.raises(RequestError, match="http://it/v1/completions"):
        await OpenAIScorer.open("http://it", model="m", transport=httpx.ASGITransport(app=FastAPI()))


@pytest.mark.parametrize("url", ["", "gpu-box", "ftp://x", "http://"])
async def test_what_is_no_url_is_reported(url: str) -> None:
    with pytest.raises(RequestError, match="not a URL of an endpoint"):
        await OpenAIScorer.open(url)
