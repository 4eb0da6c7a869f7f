"""`--scorer openai:URL`: the same labels as from an icm-server, and one-line errors, over real HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import openai_app, planted
from tests.http_app import running
from tests.icm_command import Icm, check_refused
from tests.openai_app import FakeEndpoint

from icm_annealer.runs.directory import DEMO, JOURNAL, LABELS, METRICS
from icm_server.engines.fake import FakeEngine
from icm_server.http.app import create_app


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """An icm-server's address."""

    async def make_engine() -> FakeEngine:
        return FakeEngine()

    with running(create_app(make_engine)) as url:
        yield url


@pytest.fixture
def endpoint() -> Iterator[FakeEndpoint]:
    """What looks like stock vLLM, with its `url`."""
    made = FakeEndpoint()
    with running(made.app) as made.url:
        yield made


@pytest.mark.slow
def test_a_run_gives_the_same_labels(icm: Icm, tmp_path: Path, server: str, endpoint: FakeEndpoint) -> None:
    task = planted.write_task(tmp_path / "data", 16)
    for name, scorer in (("ours", server), ("theirs", f"openai:{endpoint.url}/v1")):
        ended = icm("run", "--task", task, "--scorer", scorer, "--out", tmp_path / name / "run")
        assert ended.code == 0, ended
    ours, theirs = ((tmp_path / name / "run" / LABELS).read_bytes() for name in ("ours", "theirs"))
    assert ours == theirs
    assert "gets a trivial prompt wrong" not in ended.out
    metrics = json.loads((tmp_path / "theirs" / "run" / METRICS).read_text())
    assert metrics["computed_tokens"] > 0
    start = json.loads((tmp_path / "theirs" / "run" / JOURNAL).read_text().splitlines()[0])
    assert start["model"]["engine"] == "vllm 0.32.0"


def test_a_run_with_another_model_is_not_resumed(icm: Icm, tmp_path: Path, endpoint: FakeEndpoint) -> None:
    task = planted.write_task(tmp_path / "data", 8)
    command = ["run", "--task", task, "--scorer", f"openai:{endpoint.url}", "--out", tmp_path / "run"]
    assert icm(*command).code == 0
    assert icm(*command, "--resume").code == 0
    endpoint.models[0] |= {"root": "/other"}
    check_refused(icm(*command, "--resume"), 2, "was begun with another model")


def test_labels_among_the_likeliest_tokens(icm: Icm, tmp_path: Path, endpoint: FakeEndpoint) -> None:
    hosted = FakeEndpoint(takes_ids=False, key="secret")
    task = planted.write_task(tmp_path / "data", 16)
    key = tmp_path / "key"
    key.write_text("secret\n")
    with running(hosted.app) as url:
        command = ["run", "--task", task, "--api-key-file", key, "--scorer", f"openai:{url}"]
        ended = icm(*command, "--out", tmp_path / "run")
        assert ended.code == 0, ended
        assert "note: " in ended.err
        assert "among the 20 most likely tokens" in ended.err
        rare = tmp_path / "rare.yaml"
        rare.write_text(
            planted.TASK.replace('" cool"', '" very cool"').replace("data.jsonl", str(task.parent / "data.jsonl"))
        )
        command[2] = rare
        check_refused(icm(*command, "--out", tmp_path / "other"), 2, "the label ' very cool' is not among the")
        check_refused(icm(*command[:3], *command[5:], "--out", tmp_path / "third"), 1, "Unauthorized")


@pytest.mark.slow
def test_score_and_task_check(icm: Icm, tmp_path: Path, server: str, endpoint: FakeEndpoint) -> None:
    file = tmp_path / "request.json"
    file.write_text(json.dumps({"prompts": ["Word: cod\nGroup:", "größer"], "labels": [" living", " object"]}))
    found = [icm("score", file, "--scorer", scorer) for scorer in (server, f"openai:{endpoint.url}")]
    assert found[0].code == found[1].code == 0, found
    ours, theirs = ([json.loads(line) for line in ended.out.splitlines()] for ended in found)
    assert [row["prompt"] for row in ours] == [row["prompt"] for row in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert one["logprobs"] == pytest.approx(other["logprobs"], abs=1e-9)
    task = planted.write_task(tmp_path / "data", 40)
    answers = [icm("task", "check", task, "--scorer", scorer) for scorer in (server, f"openai:{endpoint.url}")]
    assert answers[0].code == 0
    assert answers[0].out == answers[1].out


@pytest.mark.slow
def test_demo(icm: Icm, tmp_path: Path, endpoint: FakeEndpoint) -> None:
    task = planted.write_task(tmp_path / "data", 40)
    command = ["demo", "--task", task, "--scorer", f"openai:{endpoint.url}", "--scorer-model", "fake"]
    ended = icm(*command, "--examples", 16, "--test-size", 16, "--out", tmp_path / "demo")
    assert ended.code == 0, ended
    assert json.loads((tmp_path / "demo" / DEMO).read_text())["model"]["name"] == "fake"


def test_search_bench_takes_one_of_several_models(icm: Icm, tmp_path: Path, endpoint: FakeEndpoint) -> None:
    endpoint.models.append(endpoint.models[0] | {"id": "another"})
    task = planted.write_task(tmp_path / "data", 40)
    command = ["search-bench", "--scorer", f"openai:{endpoint.url}", "--out", tmp_path / "bench.json"]
    command += ["--tasks", task, "--sizes", 8, "--test-size", 8, "--orders", 2, "--methods", "zero_shot"]
    check_refused(icm(*command), 2, "--scorer-model")
    ended = icm(*command, "--scorer-model", "fake")
    assert ended.code == 0, ended


def test_an_endpoint_that_cannot_be_believed(icm: Icm, tmp_path: Path, endpoint: FakeEndpoint) -> None:
    task = planted.write_task(tmp_path / "data", 8)
    command = ["run", "--task", task, "--wait", 0, "--out", tmp_path / "run"]
    endpoint.spoil = openai_app.same_for_all_prompts
    check_refused(icm(*command, "--scorer", f"openai:{endpoint.url}"), 1, endpoint.url, "do not depend on the prompt")
    assert not (tmp_path / "run" / JOURNAL).exists()
    nobody = "openai:http://127.0.0.1:9"
    check_refused(
        icm(*command, "--scorer", nobody, "--overwrite"), 1, "cannot reach the endpoint at http://127.0.0.1:9 "
    )
    check_refused(icm(*command, "--scorer", "openai:", "--overwrite"), 2, "not a URL of an endpoint")
    wrong = [*command, "--overwrite", "--scorer-model", "other"]
    check_refused(icm(*wrong, "--scorer", f"openai:{endpoint.url}"), 2, "serves no model 'other'; it lists fake")
    check_refused(
        icm(*wrong, "--scorer", "local:fake", "--engine", "fake"), 2, "is for scorers that serve several models"
    )


@pytest.mark.parametrize("version", ["\x1b[2J", "x" * 5000])
def test_a_model_that_cannot_be(icm: Icm, tmp_path: Path, endpoint: FakeEndpoint, version: str) -> None:
    task = planted.write_task(tmp_path / "data", 8)
    endpoint.version = version
    ended = icm("run", "--task", task, "--scorer", f"openai:{endpoint.url}", "--wait", 0, "--out", tmp_path / "run")
    check_refused(ended, 1, endpoint.url, "an invalid engine")
    assert version not in ended.err
