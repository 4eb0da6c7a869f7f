"""Solutions sampled from a small OpenAI-compatible server, a real one: over HTTP, with its faults."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from tests.http_app import running

from icm_annealer.builders.built import Built
from icm_annealer.builders.completions import Completions
from icm_annealer.builders.gsm8k import MathProblem, Sampling, problems_of, solutions
from icm_annealer.data.examples import load_examples
from icm_annealer.data.rows import read_rows
from icm_annealer.data.task import load_task
from icm_annealer.sources.row import Row
from icm_client import RequestError
from icm_client.contract.errors import AccessError, IcmError, ScorerError, UnavailableError
from icm_client.http.retry import RetryPolicy

PROBLEMS = [
    {"question": f"What are {a} and {a}?", "answer": f"{a} + {a} = <<{a}+{a}={2 * a}>>.\n#### {2 * a}"}
    for a in (2, 3, 1000)
]
ENDINGS = [
    "The answer is {right}.",
    "The answer is {wrong}.",
    "I do not know.",
    "So the answer is ${right}.00.\n\nMore",
]


class Server:
    """Answers a/v1/completions: of four texts one is wrong and one has no answer. `faults` are answered first."""

    url = ""

    def __init__(self) -> None:
        self.faults: list[tuple[int, Any, dict[str, str]]] = []
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.max_choices = 64
        self.app = FastAPI()
        self.app.get("/v1/models")(self.models)
        self.app.post("/v1/completions")(self.completions)

    async def models(self) -> dict[str, Any]:
        return {"object": "list", "data": [{"id": "adder"}]}

    async def completions(self, request: Request) -> JSONResponse:
        body = await request.json()
        self.keys.append(request.headers.get("Authorization"))
        self.asked.append(body)
        if self.faults:
            status, answer, headers = self.faults.pop(0)
            return JSONResponse(answer, status, headers)
        number = int(re.findall(r"What are (\d+)", body["prompt"])[-1])
        texts = []
        for k in range(body["seed"], body["seed"] + min(body["n"], self.max_choices)):
            ending = ENDINGS[k % len(ENDINGS)].format(right=2 * number, wrong=2 * number + 1)
            texts.append(f" Way {k % 1000}: {number} and {number}. {ending}")
        return JSONResponse({"choices": [{"text": text} for text in texts]})


@pytest.fixture
def server() -> Iterator[Server]:
    """The server, running at its `url`."""
    made = Server()
    with running(made.app) as url:
        made.url = url
        yield made


def problems() -> list[MathProblem]:
    return problems_of(Row(f"row {k}", row) for k, row in enumerate(PROBLEMS, start=1))


def sampled(url: str, *, key: str | None = None, patience_s: float = 0.0, **settings: Any) -> Built:
    async def sample() -> Built:
        async with Completions(url, api_key=key, retry=RetryPolicy(patience_s, 0.01)) as endpoint:
            return await solutions(problems(), endpoint, Sampling(**settings), reports.append)

    reports: list[str] = []
    built = asyncio.run(sample())
    assert reports[-1] == "3 of 3 problems solved"
    return built


def test_solutions_are_different_in_order_and_judged(server: Server, tmp_path: Path) -> None:
    built = sampled(server.url, key="secret")
    assert built == sampled(server.url, num_connections=1)
    assert built.notes == []
    assert [row["consistency_id"] for row in built.rows] == [0] * 4 + [1] * 4 + [2] * 4
    assert [row["id"] for row in built.rows[:2]] == ["gsm8k-0000-0", "gsm8k-0000-1"]
    assert {row["label"] for row in built.rows} == {True, False}
    for row in built.rows:
        right = str(2 * int(row["question"].split()[2]))
        assert row["label"] == (row["answer"] == right)
        assert row["cot"].startswith("Way ")
        assert row["cot"].endswith((right + ".", right + ".00.", str(int(right) + 1) + "."))
    assert len({row["cot"] for row in built.rows}) == 12
    assert server.keys[:1] == ["Bearer secret"]
    assert server.keys[-1] is None
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in built.rows))
    examples, gold, *_ = load_examples(path, load_task("gsm8k").task)
    assert len(examples) == len(gold) == 12


def test_a_request_holds_what_was_asked(server: Server) -> None:
    sampled(server.url + "/v1/", seed=5, temperature=0.3, max_tokens=99, num_solutions=2)
    end = "\n\nQuestion: What are 2 and 2?\nAnswer:"  # asked side by side with the others, of which any may come first
    body = next(asked for asked in server.asked if asked["prompt"].endswith(end))
    assert (body["model"], body["n"], body["temperature"], body["max_tokens"]) == ("adder", 2, 0.3, 99)
    assert all(0 <= asked["seed"] < 2**31 for asked in server.asked)
    assert len({asked["seed"] for asked in server.asked}) == len(server.asked)


def test_other_seeds_give_other_solutions(server: Server) -> None:
    assert sampled(server.url, seed=1) != sampled(server.url, seed=2)


def test_an_endpoint_that_gives_one_text_at_a_time(server: Server) -> None:
    server.max_choices = 1
    built = sampled(server.url, num_solutions=8)
    assert built.notes == ["3 problems got fewer than 8 different solutions with a final answer"]
    assert 0 < len(built.rows) <= 12


def test_a_busy_endpoint_is_asked_again(server: Server) -> None:
    server.faults = [(503, {}, {}), (429, {"error": {"message": "slow down"}}, {"Retry-After": "0"})]
    assert sampled(server.url, patience_s=30.0) == sampled(server.url)


@pytest.mark.parametrize(
    ("fault", "kind", "says"),
    [
        ((400, {"error": {"message": "no such n"}}), RequestError, "/v1/completions: no such n"),
        ((401, {"error": {"message": "bad key"}}), AccessError, "bad key"),
        ((404, "nothing"), RequestError, "404"),
        ((500, {}), ScorerError, "500"),
        ((503, {"error": {"message": "loading"}}), UnavailableError, "loading"),
        ((200, {"choices": [{"message": "hi"}]}), ScorerError, "something other than choices with a text"),
        ((200, ["hi"]), ScorerError, "something other than choices with a text"),
    ],
)
def test_faults_of_an_endpoint_are_errors(
    server: Server, fault: tuple[int, Any], kind: type[IcmError], says: str
) -> None:
    server.faults = [(*fault, {})] * 20
    with pytest.raises(kind, match=says) as raised:
        sampled(server.url)
    assert "\n" not in raised.value.message


def test_nobody_there_is_reported() -> None:
    with pytest.raises(UnavailableError, match=r"cannot reach the endpoint at http://127.0.0.1:9 "):
        sampled("http://127.0.0.1:9")


@pytest.mark.parametrize("url", ["", "gpu-box", "ftp://x", "http://"])
def test_what_is_no_url_is_reported(url: str) -> None:
    with pytest.raises(RequestError, match="not a URL of an endpoint"):
        Completions(url)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"question": "Why?"}, "row 1: the field answer is missing"),
        ({"question": "Why?", "answer": "#### many"}, "row 1: the answer 'many' is not a number"),
        ({"question": " ", "answer": "1"}, "row 1: the field question is not a text"),
    ],
)
def test_a_broken_problem_is_named(row: dict[str, Any], says: str) -> None:
    with pytest.raises(RequestError, match=says):
        problems_of([Row("row 1", row)])


def test_references_are_numbers(tmp_path: Path) -> None:
    path = tmp_path / "problems.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in PROBLEMS))
    assert [problem.answer for problem in problems_of(read_rows(path))] == ["4", "6", "2000"]
    assert len(problems_of(read_rows(path), 2)) == 2
    assert problems_of([Row("row 1", {"question": "x", "answer": "$1,200.0"})])[0].answer == "1200"
