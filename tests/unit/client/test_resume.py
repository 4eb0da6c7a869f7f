"""The client on real sockets that break: what has arrived is kept, and nothing else is asked again."""

from __future__ import annotations

import json
import random
from contextlib import aclosing
from typing import Any

import pytest
import zstandard
from starlette.responses import JSONResponse, Response
from tests.streaming import ROWS_PER_LINE, StreamingScorer, breaking, served

from icm_client import DeadlineError, RequestError, ScorerClient, ScoreRequest, UnavailableError
from icm_client.contract.errors import TooLargeError, error_body
from icm_client.http.retry import RetryPolicy
from icm_server.engines.fake import FakeEngine
from icm_server.http.app import create_app

NUM_PROMPTS = 60
QUICK = RetryPolicy(patience_s=20.0, first_wait_s=0.001, max_wait_s=0.002)
IMPATIENT = RetryPolicy(patience_s=0.0)


def tree(num_prompts: int = NUM_PROMPTS) -> ScoreRequest:
    """A chain of shots, every prompt behind another prefix of it."""
    words = [f"w{number}" for number in range(num_prompts)]
    segments = [f"Word: {word}\nGroup: {'living' if k % 2 else 'object'}" for k, word in enumerate(words)]
    segments += [f"\n\n{segment}" for segment in segments[:num_prompts]]
    segments += [f"\n\nWord: {word}\nGroup:" for word in words]
    prefixes: list[list[int | None]] = [[None, 0], *([k - 1, num_prompts + k] for k in range(1, num_prompts))]
    return ScoreRequest(
        segments=segments,
        prefixes=prefixes,
        prompts=[[k, 2 * num_prompts + k] for k in range(num_prompts)],
        labels=[" living", " object"],
        terminator="\n\n",
    )


def client_at(port: int, **settings: Any) -> ScorerClient:
    return ScorerClient(f"http://127.0.0.1:{port}", **{"retry": QUICK, **settings})


async def test_a_stream_gives_what_a_whole_answer_gives() -> None:
    scorer = StreamingScorer()
    expected = await scorer.scorer.score(tree())
    async with served(scorer.app) as port, client_at(port) as client:
        got = await client.score(tree())
        assert got.logprobs == expected.logprobs
        assert got.model == expected.model
        assert got.usage.prompt_tokens == expected.usage.prompt_tokens
        seen: dict[int, list[float]] = {}
        async with aclosing(client.stream(tree())) as stream:
            async for rows in stream:
                assert 0 < len(rows.prompts) <= ROWS_PER_LINE
                seen.update(zip(rows.prompts, rows.logprobs, strict=True))
    assert [seen[number] for number in range(NUM_PROMPTS)] == expected.logprobs
    assert list(seen) != sorted(seen)  # they came in another order


@pytest.mark.parametrize("max_prompts", [16_384, 25])
async def test_a_connection_that_breaks_again_and_again(max_prompts: int) -> None:
    """Cut at random places, headers and lines included, until all has come."""
    scorer, places = StreamingScorer(), random.Random(1)
    expected = await scorer.scorer.score(tree())

    def cut(connection: int) -> int | None:
        return places.randrange(1, 2200) if connection < 12 else None

    async with (
        served(scorer.app) as port,
        breaking(port, cut) as broken,
        client_at(broken, max_prompts=max_prompts) as client,
    ):
        got = await client.score(tree())
    assert got.logprobs == expected.logprobs
    sizes = [len(request.prompts) for request in scorer.asked]
    assert len(sizes) > 3
    assert sum(sizes) < len(sizes) * min(NUM_PROMPTS, max_prompts)  # some of it was kept


async def test_only_what_is_missing_is_asked_again() -> None:
    scorer = StreamingScorer()
    expected = await scorer.scorer.score(tree())
    seen: list[int] = []
    async with (
        served(scorer.app) as port,
        breaking(port, lambda connection: None if connection else 2500) as broken,
        client_at(broken) as client,
        aclosing(client.stream(tree())) as stream,
    ):
        before = None
        async for rows in stream:
            if len(scorer.asked) > 1 and before is None:
                before = len(seen)
            for number, row in zip(rows.prompts, rows.logprobs, strict=True):
                assert row == expected.logprobs[number]
            seen += rows.prompts
    assert sorted(seen) == list(range(NUM_PROMPTS))
    assert before is not None
    assert 0 < before < NUM_PROMPTS
    first, second = scorer.asked
    assert first == tree()
    assert len(second.prompts) == NUM_PROMPTS - before
    asked = (await scorer.scorer.score(second)).logprobs
    assert asked == [expected.logprobs[number] for number in sorted(set(range(NUM_PROMPTS)) - set(seen[:before]))]


async def test_the_real_scorer_on_a_wire_that_breaks() -> None:
    async def make_engine() -> FakeEngine:
        return FakeEngine(delay_s=0.02, max_concurrent_reads=4)

    expected = await StreamingScorer().scorer.score(tree())
    app = create_app(make_engine)
    async with (
        served(app) as port,
        breaking(port, lambda connection: 900 + 300 * connection if connection < 6 else None) as broken,
        client_at(broken) as client,
    ):
        await app.state.scoring.startup_ended.wait()
        got = await client.score(tree())
    assert got.logprobs == expected.logprobs


async def test_patience_ends_also_in_the_middle() -> None:
    scorer = StreamingScorer()
    async with (
        served(scorer.app) as port,
        breaking(port, lambda _: 1000) as broken,
        client_at(broken, retry=IMPATIENT) as client,
    ):
        with pytest.raises(UnavailableError):
            await client.score(tree())
    assert len(scorer.asked) == 1


async def test_patience_begins_anew_with_every_row_that_comes() -> None:
    """Each cut is within patience, all together are not."""
    scorer = StreamingScorer()
    patience = RetryPolicy(patience_s=0.5, first_wait_s=0.2, max_wait_s=0.2)
    async with (
        served(scorer.app) as port,
        breaking(port, lambda connection: 1600 if connection < 6 else None) as broken,
        client_at(broken, retry=patience) as client,
    ):
        got = await client.score(tree())
    assert len(got.logprobs) == NUM_PROMPTS
    assert len(scorer.asked) > 3


async def test_a_reader_that_stops_early_can_ask_again() -> None:
    scorer = StreamingScorer()
    async with served(scorer.app) as port, client_at(port) as client:
        async with aclosing(client.stream(tree())) as stream:
            assert len((await anext(stream)).prompts) == ROWS_PER_LINE
        assert len((await client.score(tree())).logprobs) == NUM_PROMPTS
    assert len(scorer.asked) == 2


class Narrow:
    """In front of a scorer: 413 for a request of more than `most` prompts or texts, in the scorer's words or a
    proxy's; `sizes` has how many each request had."""

    def __init__(self, app: Any, most: int, *, in_words: bool):
        self._app, self._most, self._in_words = app, most, in_words
        self.sizes: list[int] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        content = b""
        while (message := await receive())["type"] == "http.request":
            content += message.get("body", b"")
            if not message.get("more_body"):
                break
        body = json.loads(unpacked(content, dict(scope["headers"]).get(b"content-encoding", b"")))
        self.sizes.append(len(body.get("prompts") or body["texts"]))
        if self.sizes[-1] > self._most:
            said = error_body(TooLargeError("send fewer prompts per request"))
            page = JSONResponse(said, 413) if self._in_words else Response("<html>413</html>", 413)
            await page(scope, receive, send)
            return

        whole = [{"type": "http.request", "body": content}]

        async def again() -> Any:
            return whole.pop() if whole else await receive()

        await self._app(scope, again, send)


def unpacked(content: bytes, encoding: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompressobj().decompress(content) if encoding == b"zstd" else content


@pytest.mark.parametrize(
    ("max_prompts", "most", "in_words"),
    [(16_384, 7, True), (16_384, 7, False), (16_384, 1, True), (25, 20, False), (16_384, 59, True)],
)
async def test_what_is_too_large_is_asked_in_smaller_parts(max_prompts: int, most: int, in_words: bool) -> None:
    scorer = StreamingScorer()
    expected = await scorer.scorer.score(tree())
    narrow = Narrow(scorer.app, most, in_words=in_words)
    async with served(narrow) as port, client_at(port, max_prompts=max_prompts) as client:
        got = await client.score(tree())
        seen: list[int] = []
        async with aclosing(client.stream(tree())) as stream:
            async for rows in stream:
                seen += rows.prompts
    assert got.logprobs == expected.logprobs
    assert sorted(seen) == list(range(NUM_PROMPTS))
    taken = [size for size in narrow.sizes if size <= most]
    assert sum(taken) == 2 * NUM_PROMPTS  # each prompt once, in both
    assert len(narrow.sizes) - len(taken) <= 2 * (6 + 3)  # halved 6 times at first, then grown too large 3 times


@pytest.mark.parametrize("most", [1, 3, 60])
async def test_texts_to_count_too(most: int) -> None:
    async def make_engine() -> FakeEngine:
        return FakeEngine()

    app = create_app(make_engine)
    texts = [f"word {'a ' * number}" for number in range(20)]
    async with served(Narrow(app, most, in_words=True)) as port, client_at(port) as client:
        await app.state.scoring.startup_ended.wait()
        counts = await client.count_tokens(texts)
    assert counts == sorted(counts)
    assert len(set(counts)) == len(texts)


async def test_rows_that_came_before_a_refusal_are_kept() -> None:
    """The answer breaks, and what is asked again has become too much."""
    scorer = StreamingScorer()
    expected = await scorer.scorer.score(tree())
    narrow = Narrow(scorer.app, NUM_PROMPTS, in_words=True)
    seen: list[int] = []
    async with (
        served(narrow) as port,
        breaking(port, lambda connection: None if connection else 2500) as broken,
        client_at(broken) as client,
        aclosing(client.stream(tree())) as stream,
    ):
        async for rows in stream:
            narrow._most = 9
            for number, row in zip(rows.prompts, rows.logprobs, strict=True):
                assert row == expected.logprobs[number]
            seen += rows.prompts
    assert sorted(seen) == list(range(NUM_PROMPTS))
    assert narrow.sizes[0] == NUM_PROMPTS > narrow.sizes[1] > 9


async def test_the_deadline_counts_for_all_parts_together() -> None:
    narrow = Narrow(StreamingScorer().app, 0, in_words=True)
    async with served(narrow) as port, client_at(port) as client:
        with pytest.raises(RequestError) as raised:
            await client.score(tree())
        assert raised.value.code == "request_too_large"
        assert narrow.sizes == [60, 30, 15, 8, 4, 2, 1]
        with pytest.raises(DeadlineError):
            await client.score(tree().model_copy(update={"deadline_s": 0.0001}))


async def test_large_bodies_are_compressed_once_the_scorer_has_said_that_it_takes_them() -> None:
    scorer = StreamingScorer()
    lengths: list[tuple[str | None, int]] = []
    inner = scorer.app

    async def watching(scope: Any, receive: Any, send: Any) -> None:
        num_bytes = 0

        async def counted() -> Any:
            nonlocal num_bytes
            message = await receive()
            num_bytes += len(message.get("body", b""))
            return message

        await inner(scope, counted, send)
        if scope["type"] == "http" and scope["method"] == "POST":
            lengths.append((dict(scope["headers"]).get(b"content-encoding", b"").decode(), num_bytes))

    request = tree(600)
    expected = (await scorer.scorer.score(request)).logprobs
    async with served(watching) as port, client_at(port) as client:
        for _ in range(2):
            assert (await client.score(request)).logprobs == expected
        assert (await client.score(tree(5))).logprobs  # a small one travels as it is
    whole = len(request.body())
    assert lengths[0] == ("", whole)
    assert lengths[1][0] == "zstd"
    assert lengths[1][1] < whole / 3
    assert lengths[2][0] == ""
