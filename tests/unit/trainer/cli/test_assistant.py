"""`icm assistant`: every stage on a tiny model, stopped in the middle and continued."""

from __future__ import annotations

import ast
import contextlib
import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import planted
from tests.http_app import running
from tests.icm_command import ELSEWHERE, OPTION, Icm, check_refused
from tests.options_page import uses

import icm_trainer
from icm_server.engines.fake import FakeEngine
from icm_server.http.app import create_app
from icm_trainer.models.base_model import BaseModel


@pytest.fixture
def scorer(tiny: BaseModel) -> Iterator[str]:
    """The address of a fake scorer that says it serves the tiny model."""

    async def engine() -> FakeEngine:
        made = FakeEngine()
        made.info = made.info.model_copy(update={"name": str(tiny.folder)})
        return made

    with running(create_app(engine)) as url:
        yield url


@contextlib.contextmanager
def stopped_when(there: Path) -> Iterator[None]:
    """Stops the command within, as Ctrl-C does, when the file is there."""
    has_ended = threading.Event()

    def watch() -> None:
        while not has_ended.wait(0.005):
            if there.exists():
                os.kill(os.getpid(), signal.SIGINT)
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        has_ended.set()
        thread.join()


def _texts(pairs: Path) -> set[str]:
    read = [json.loads(line) for line in pairs.read_text().splitlines()]
    return {pair[side] for pair in read for side in ("chosen", "rejected")}


@pytest.mark.parametrize("part", ["learning", "models", "rl/policy.py", "rl/record.py", "rl/vllm_writer.py"])
def test_what_a_training_advises_can_be_done_by_whoever_reads_it(part: str) -> None:
    """Trainings are stages of this command, too, which lacks many of their options: advice names the command that has
    them."""
    of_assistant = {use.name for use in uses() if use.command.endswith("assistant")}
    assert "--tokens" in of_assistant
    place = Path(icm_trainer.__file__).parent / part
    for path in [place] if place.suffix else place.glob("*.py"):
        for text in ast.walk(ast.parse(path.read_text())):
            if isinstance(text, ast.JoinedStr | ast.Constant):
                pieces = text.values if isinstance(text, ast.JoinedStr) else [text]
                whole = "".join(str(one.value) for one in pieces if isinstance(one, ast.Constant))
                named = set(OPTION.findall(ELSEWHERE.sub("", whole)))
                assert named <= {*of_assistant, "--override-generation-config"}, f"{path.name}: {whole}"


def test_mistakes_are_told_before_any_training(icm: Icm, scorer: str, tmp_path: Path) -> None:
    task, out, long = planted.write_task(tmp_path / "task"), tmp_path / "out", tmp_path / "long.jsonl"
    *rows, last = [row | {"people": "hot"} for row in planted.rows(24)]
    planted.write_rows(task.parent / "data.jsonl", [*rows, last])
    planted.write_rows(long, [*rows, last | {"words": "sun " * 1000}])
    command = ("assistant", task, "--out", out, "--scorer", scorer, "--first", "16", "--threads", "1", "--quiet")
    for options, says in (
        (("--judge", tmp_path), "holds no model of `icm train`"),
        (("--base", tmp_path), "is not a model"),
        (("--prompts", tmp_path / "none.jsonl"), "there is no such file of prompts"),
    ):
        check_refused(icm(*command, *options), 2, says)
        assert not out.exists()
    for options, says in (
        (("--people", "people"), "people's labels: all 16 labels are 'hot'"),
        (("--data", long), "the judge's labels: 1 of 8 texts are longer than 1,024 tokens"),
        (("--tokens", "1023"), "do not fit into the 1,024 tokens"),
        (("--text-tokens", "4"), "texts are longer than 4 tokens"),
    ):
        check_refused(icm(*command, *options, "--overwrite"), 2, says)
        assert (out / "labels/labels.jsonl").exists()
        assert not (out / "reward").exists()


@pytest.mark.slow
def test_a_stopped_assistant_is_continued_to_its_report(icm: Icm, scorer: str, tmp_path: Path) -> None:
    task, out = planted.write_task(tmp_path / "task"), tmp_path / "out"
    rows = planted.rows(32)
    wrong = {"hot": "cool", "cool": "hot"}
    people = [row["label"] if number % 3 else wrong[row["label"]] for number, row in enumerate(rows)]
    planted.write_rows(
        task.parent / "data.jsonl", [row | {"people": one} for row, one in zip(rows, people, strict=True)]
    )
    command = ("assistant", task, "--out", out, "--scorer", scorer, "--first", "16", "--people", "people",
               "--steps", "2", "--tokens", "2", "--threads", "1")  # fmt: skip
    with stopped_when(out / "policy-people/training.json"):
        stopped = icm(*command, "--quiet")
    assert stopped.code == 128 + signal.SIGINT, stopped
    assert f"Continue with: icm assistant {task} ... --out {out} --resume" in stopped.err
    assert "icm train" not in stopped.err.splitlines()[-1]
    assert not (out / "assistant.html").exists()
    check_refused(icm(*command), 2, "already holds an assistant: use --resume")
    kept = {
        name: (out / name).stat().st_mtime_ns
        for name in ("labels/labels.jsonl", "reward/README.md", "policy/README.md")
    }

    ended = icm(*command, "--resume", "--json")
    assert ended.code == 0, ended
    assert {name: (out / name).stat().st_mtime_ns for name in kept} == kept
    found = json.loads(ended.out)["policies"]
    assert [one["by"] for one in found] == ["the labels found", "people's labels", "gold labels"]
    for one in found:
        assert 0 <= one["reward_accuracy"]["value"] <= 1
        assert 0 <= one["wins_over_start"]["value"] <= 1
    assert [one["first_wins_over_it"] is None for one in found] == [True, False, False]
    judged, learnt = (_texts(out / folder / "pairs.jsonl") for folder in ("judge", "reward-gold"))
    assert judged
    assert not judged & learnt
    page = (out / "assistant.html").read_text()
    assert all(one["by"].split("'")[0] in page for one in found)
    assert "What they write" in page
