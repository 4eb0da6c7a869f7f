"""A request's way: what is wrong with it is named, order is kept, work is shared and given up."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from tests.hand_clock import HandClock

from icm_client.contract.errors import DeadlineError, RequestError, ScorerError
from icm_client.contract.wire import ScoreRequest, ScoreResponse
from icm_server.auth.tenant import ANYONE, ExperimentId
from icm_server.engines.base import Encoded, EngineDiedError, ReadAnswer
from icm_server.engines.fake import FakeEngine, FakeTokenizer
from icm_server.scheduling.scoring import ScoringService
from icm_server.sharing.steps import finished
from icm_server.tokens.request_tree import depth_first, read_tree

LABELS = [" living", " object"]


def score(engine: FakeEngine, **request: Any) -> ScoreResponse:
    return asyncio.run(ScoringService(engine).score(ScoreRequest.model_validate({"labels": LABELS, **request})))


class Recording(FakeEngine):
    """Remembers what it was asked, and how many reads were under way at most."""

    def __init__(self, **settings: Any):
        super().__init__(**settings)
        self.asked: list[list[int]] = []
        self.num_now, self.num_most, self.num_cancelled = 0, 0, 0
        self.all_begun = asyncio.Event()

    async def read(self, token_ids: list[int], target_ids: Sequence[int], *rest: Any) -> ReadAnswer:
        self.asked.append(list(token_ids))
        self.num_now += 1
        self.num_most = max(self.num_most, self.num_now)
        if self.num_now == 2:
            self.all_begun.set()
        try:
            return await super().read(token_ids, target_ids, *rest)
        except asyncio.CancelledError:
            self.num_cancelled += 1
            raise
        finally:
            self.num_now -= 1


class Failing(Recording):
    """Fails at its third read, while the others are slow."""

    def __init__(self, error: Exception):
        super().__init__(delay_s=60.0)
        self._error = error

    async def read(self, token_ids: list[int], target_ids: Sequence[int], *rest: Any) -> ReadAnswer:
        if len(self.asked) == 2:
            raise self._error
        return await super().read(token_ids, target_ids, *rest)


class Broken(FakeEngine):
    """Its weights overflow."""

    async def read(self, token_ids: list[int], target_ids: Sequence[int], *rest: Any) -> ReadAnswer:
        return ReadAnswer([math.nan for _ in target_ids], 0)


async def until(condition: Callable[[], bool]) -> None:
    """Lets the event loop run until it holds."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  (what is waited for has no event)
            await asyncio.sleep(0.001)


def test_a_tree_is_scored_as_its_joined_texts_in_the_order_asked() -> None:
    segments = [
        "Word: cod\nGroup: living",
        "\n\nWord: cup\nGroup: object",
        "\n\nWord: eel\nGroup:",
        "\n\nWord: pot\nGroup:",
    ]
    tree = score(
        FakeEngine(), segments=segments, prefixes=[[None, 0], [0, 1]], prompts=[[1, 3], [0, 2], [1, 2], [None, 3]]
    )
    plain = [segments[0] + segments[1] + segments[3], segments[0] + segments[2]]
    plain += [segments[0] + segments[1] + segments[2], segments[3]]
    assert tree.logprobs == score(FakeEngine(), prompts=plain).logprobs
    alone = [score(FakeEngine(), prompts=[text]).logprobs[0] for text in plain]
    assert tree.logprobs == alone


def test_reads_go_depth_first_whatever_the_order_asked() -> None:
    request = ScoreRequest(
        segments=["a", " b", " c", " d"],
        prefixes=[[None, 0], [None, 1], [0, 2], [1, 2]],
        prompts=[[3, 3], [0, 3], [1, 3], [2, 3], [None, 3]],
        labels=LABELS,
    )
    assert finished(depth_first(finished(read_tree(request)))) == [4, 1, 3, 2, 0]


def test_what_is_asked_twice_is_read_once() -> None:
    engine = Recording()
    answer = score(engine, segments=["Word: ", "a", "Word: a"], prompts=["Word: a", "Word: b", [None, 2], [None, 0, 1]])
    assert len(engine.asked) == answer.usage.num_reads == 2
    assert answer.usage.read_cache_prompts == 2
    assert answer.logprobs[0] == answer.logprobs[2] == answer.logprobs[3] != answer.logprobs[1]


async def test_what_is_to_be_read_now_is_answered_by_no_other_read() -> None:
    engine = Recording()
    scorer = ScoringService(engine)
    request = ScoreRequest(prompts=["Word: a", "Word: b"], labels=LABELS, fresh=True)
    answers = await asyncio.gather(*(scorer.score(request) for _ in range(3)))
    answers.append(await scorer.score(request))
    await scorer.close()
    assert [answer.usage.num_reads for answer in answers] == [2] * 4
    assert len(engine.asked) == 8
    assert all(answer.logprobs == answers[0].logprobs for answer in answers)


def test_usage_counts_tokens() -> None:
    engine = FakeEngine()
    context = " w" * 40
    answer = score(engine, prompts=[context + " a:", context + " b:"])
    assert answer.usage.prompt_tokens == 82
    assert answer.usage.cached_tokens == 32
    assert answer.usage.computed_tokens == 82 - 32
    assert answer.model.digest == engine.info.digest


def test_labels_of_several_tokens_and_aliases() -> None:
    engine = FakeEngine()
    answer = score(engine, prompts=["Thing: eel\nGroup:"], labels=[[" sea animal", " fish"], " sea thing", " pot"])
    one = score(engine, prompts=["Thing: eel\nGroup:"], labels=[" fish"]).logprobs[0][0]
    other = score(engine, prompts=["Thing: eel\nGroup:"], labels=[" sea animal"]).logprobs[0][0]
    assert answer.logprobs[0][0] == pytest.approx(math.log(math.exp(one) + math.exp(other)))
    assert answer.usage.num_reads == 2


def test_no_more_reads_are_in_the_engine_than_it_takes() -> None:
    engine = Recording(max_concurrent_reads=3, delay_s=0.001)
    scorer = ScoringService(engine)

    async def two_requests() -> None:
        await asyncio.gather(
            *(
                scorer.score(ScoreRequest(prompts=[f"Word: {name}{k}" for k in range(20)], labels=LABELS))
                for name in "ab"
            )
        )

    asyncio.run(two_requests())
    assert engine.num_most == 3
    assert len(engine.asked) == 40


async def test_a_small_request_goes_beside_what_a_large_one_keeps_in_the_engine() -> None:
    """Another large one waits for room."""
    engine = Recording(max_concurrent_tokens=1400, delay_s=60.0)
    scorer = ScoringService(engine)

    def ask(experiment: str, num: int) -> asyncio.Task[object]:
        prompts = [f"Word: {experiment} {num} {k} {' w' * 20}\nGroup:" for k in range(num)]
        return asyncio.create_task(scorer.score(ScoreRequest(prompts=prompts, labels=LABELS, experiment=experiment)))

    engine._delay_s = 0.0
    await asyncio.gather(ask("small", 1), ask("large", 1))  # who has never been seen has saved up nothing
    engine._delay_s = 60.0
    tasks = [ask("large", 100)]
    await until(lambda: scorer.dispatcher.num_tokens >= 1400)
    held = scorer.dispatcher.num_reads
    tasks.append(ask("large-too", 100))
    await until(lambda: scorer.admission.total.requests == 2)
    await asyncio.sleep(0.1)
    assert scorer.dispatcher.num_reads == held
    tasks.append(ask("small", 3))
    await until(lambda: scorer.dispatcher.num_reads == held + 3)
    assert scorer.dispatcher.num_tokens <= 2 * 1400
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await scorer.close()


@pytest.mark.parametrize("error", [ScorerError("out of memory"), EngineDiedError("gone")])
def test_the_first_failure_ends_all_reads_and_frees_the_window(error: Exception) -> None:
    engine = Failing(error)
    scorer = ScoringService(engine)

    async def fail_then_score() -> None:
        with pytest.raises(type(error)) as raised:
            await scorer.score(ScoreRequest(prompts=[f"Word: {k}" for k in range(9)], labels=LABELS))
        assert raised.value is error
        await until(lambda: engine.num_now == scorer.dispatcher.num_reads == 0)
        assert scorer.admission.total.requests == 0

    asyncio.run(fail_then_score())
    assert engine.num_cancelled == len(engine.asked)


def test_a_cancelled_request_cancels_its_reads() -> None:
    engine = Recording(delay_s=60.0)

    async def cancel() -> None:
        task = asyncio.create_task(ScoringService(engine).score(ScoreRequest(prompts=["a", "b"], labels=LABELS)))
        await engine.all_begun.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(cancel())
    assert engine.num_cancelled == 2


def test_an_answer_that_is_no_log_probability_is_never_passed_on() -> None:
    with pytest.raises(ScorerError, match="prompt 0"):
        score(Broken(), prompts=["a"])


def test_a_prompt_that_is_too_long_is_named_with_its_tokens() -> None:
    with pytest.raises(RequestError) as raised:
        score(FakeEngine(max_prompt_tokens=10), prompts=["short", " w" * 10, " w" * 11])
    assert raised.value.details == {"prompt": 2, "tokens": 11, "limit": 10}
    with pytest.raises(RequestError, match="prompt 0 has 11 tokens"):
        score(FakeEngine(max_prompt_tokens=10), prompts=[" w" * 10], labels=[" a b", " a c"])


def test_an_unknown_model_is_named_with_those_there_are() -> None:
    with pytest.raises(RequestError, match="no model 'mine': the scorer serves base"):
        score(FakeEngine(), prompts=["a"], model="mine")


def test_a_deep_chain_of_prefixes_is_no_problem() -> None:
    num = 2000
    prefixes: list[list[int | None]] = [[None, 0], *([k, 0] for k in range(num - 1))]
    answer = score(FakeEngine(), segments=["\n\nw w"], prefixes=prefixes, prompts=[[num - 1, 0], [5, 0]])
    assert len(answer.logprobs) == 2


def test_a_prefix_that_is_too_long_is_named_before_all_of_them_are_built() -> None:
    prefixes: list[list[int | None]] = [[None, 0], *([k, 0] for k in range(50_000))]
    with pytest.raises(RequestError, match="prefix 5 has 12 tokens"):
        score(FakeEngine(max_prompt_tokens=10), segments=[" w w"], prefixes=prefixes, prompts=[[50_000, 0]])


async def test_a_request_given_up_before_its_reads_have_begun_leaves_its_room_to_others() -> None:
    scorer = ScoringService(FakeEngine())
    answers = await scorer.begin(ScoreRequest(prompts=["Word: eel\nGroup:"], labels=LABELS))
    assert scorer.dispatcher.num_reads == 1
    answers.close()
    await until(lambda: not scorer.dispatcher.num_reads)
    assert scorer.dispatcher.num_tokens == 0
    await scorer.close()


async def test_a_read_in_flight_answers_all_who_ask_it_also_when_the_first_has_gone() -> None:
    engine = Recording(delay_s=1.0)
    scorer = ScoringService(engine)
    first, *others = [
        asyncio.create_task(scorer.score(ScoreRequest(prompts=["Word: eel\nGroup:"], labels=LABELS, experiment=name)))
        for name in "abc"
    ]
    await until(lambda: all(scorer.counters.of(ExperimentId(ANYONE.name, name)).counts.prompts for name in "abc"))
    first.cancel()
    answers = await asyncio.gather(*others)
    assert len(engine.asked) == 1
    assert engine.num_cancelled == 0
    assert answers[0].logprobs == answers[1].logprobs
    assert [answer.usage.num_reads for answer in answers] == [1, 0]
    await scorer.close()


class Gated(FakeTokenizer):
    """Remembers what it was asked, waits at the first, and takes a second of the clock for each."""

    def __init__(self, clock: HandClock) -> None:
        super().__init__()
        self.clock, self.asked = clock, list[str]()
        self.is_open = threading.Event()

    def encode_many(self, texts: Sequence[str]) -> list[Encoded]:
        self.asked += texts
        assert self.is_open.wait(10)
        self.clock.now += 1
        return super().encode_many(texts)


def gated(**scoring: Any) -> tuple[ScoringService, Gated]:
    engine, tokenizer = FakeEngine(), Gated(HandClock())
    engine.tokenizer = tokenizer
    return ScoringService(engine, clock=tokenizer.clock, **scoring), tokenizer


async def test_a_small_request_does_not_wait_until_many_texts_are_counted() -> None:
    scorer, tokenizer = gated()
    counting = asyncio.create_task(scorer.count_tokens([f"{k} " * 30_000 for k in range(5)]))
    await until(lambda: len(tokenizer.asked) == 1)
    scoring = asyncio.create_task(scorer.score(ScoreRequest(prompts=["Word: eel\nGroup:"], labels=LABELS)))
    await until(lambda: scorer.admission.total.requests == 1)
    tokenizer.is_open.set()
    assert await counting == [30_001] * 5
    await scoring
    assert [text[:2] for text in tokenizer.asked][:3] == ["0 ", "Wo", " l"]
    await scorer.close()


@pytest.mark.parametrize("way", ["cancelled", "too late"])
async def test_planning_ends_after_a_slice_when_nobody_waits_for_it(way: str) -> None:
    scorer, tokenizer = gated()
    prompts = [f"{k} " * 30_000 for k in range(5)]
    request = ScoreRequest(prompts=prompts, labels=LABELS, deadline_s=0.3 if way == "too late" else None)
    scoring = asyncio.create_task(scorer.score(request))
    await until(lambda: len(tokenizer.asked) == 1)
    if way == "cancelled":
        scoring.cancel()
    (error,) = await asyncio.gather(scoring, return_exceptions=True)
    assert isinstance(error, DeadlineError if way == "too late" else asyncio.CancelledError)
    tokenizer.is_open.set()
    assert len((await scorer.score(ScoreRequest(prompts=["Word: eel"], labels=LABELS))).logprobs) == 1
    assert [text[:2] for text in tokenizer.asked][:2] == ["0 ", "Wo"]
    await scorer.close()


@pytest.mark.parametrize("word", ["a ", "abc ", "abcdefghijkl "])
async def test_of_a_text_that_no_window_holds_only_a_beginning_is_counted(word: str) -> None:
    scorer, tokenizer = gated()
    tokenizer.is_open.set()
    long = (word * 2**18)[:500_000]
    with pytest.raises(RequestError, match=r"text 1 has .* tokens; the model's limit is 8191") as raised:
        await scorer.count_tokens(["Word: eel", long])
    assert raised.value.code == "prompt_too_long"
    assert max(map(len, tokenizer.asked)) <= 2**18
    await scorer.close()


async def test_a_text_of_more_characters_than_any_window_holds_is_not_tokenized() -> None:
    scorer, tokenizer = gated()
    with pytest.raises(RequestError, match="text 0 has more than 524224 characters"):
        await scorer.count_tokens(["a" * 524225])
    assert not tokenizer.asked
    await scorer.close()


async def test_all_texts_that_a_window_of_128k_tokens_holds_are_counted() -> None:
    scorer = ScoringService(FakeEngine(max_prompt_tokens=2**17))
    assert await scorer.count_tokens(["abcdefghijkl " * (2**17 - 1), "a" * 2**21]) == [2**17, 1]
    await scorer.close()


async def test_counting_that_is_too_late_is_reported() -> None:
    scorer, tokenizer = gated()
    with pytest.raises(DeadlineError, match="deadline of"):
        await scorer.count_tokens(["a"], deadline_s=0.05)
    tokenizer.is_open.set()
    await scorer.close()


async def test_a_request_that_is_too_late_leaves_the_engine() -> None:
    engine = Recording(delay_s=60.0)
    scorer = ScoringService(engine)
    request = ScoreRequest(prompts=["Word: eel\nGroup:"], labels=LABELS, deadline_s=0.05)
    with pytest.raises(DeadlineError):
        await scorer.score(request)
    await until(lambda: not scorer.dispatcher.num_reads)
    assert engine.num_cancelled == 1
    await scorer.close()
