"""Scorers by name: the registered kinds, and those of an installed package."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import planted
from tests.icm_command import Icm, check_refused

from icm_annealer.scorers.kind import Opening
from icm_annealer.scorers.registry import KINDS, find_scorer
from icm_client import RequestError

TOY = '''\
from contextlib import asynccontextmanager

from icm_annealer.scorers.kind import ScorerKind
from icm_client.contract.wire import ModelInfo, ScoreResponse, Usage


class Toy(ScorerKind):
    """Prefers the first label behind a prompt that holds the word hot."""

    def check(self, address, opening):
        if not address:
            from icm_client import RequestError

            raise RequestError("toy: needs a word")

    @asynccontextmanager
    async def open(self, address, opening):
        opening.note(f"the toy says {address}")
        yield self

    async def model(self):
        return ModelInfo(name="toy", digest="toy", dtype="none", engine="toy", max_prompt_tokens=10_000, adds_bos=False)

    async def count_tokens(self, texts, *, special_tokens=False):
        return [len(text) for text in texts]

    async def score(self, request):
        rows = [[-0.1, -2.0] if "hot" in text else [-2.0, -0.1] for text in map(str, request.prompts)]
        return ScoreResponse(logprobs=rows, usage=Usage(), model=await self.model())


toy = Toy("`toy:WORD` counts nothing")
unfinished = object()
'''
ENTRY_POINTS = """\
[icm.scorers]
toy = toy_scorer:toy
unfinished = toy_scorer:unfinished
absent = toy_scorer:absent
openai = toy_scorer:toy
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with an installed package that registers scorers, on this process's path until the test ends."""
    site = tmp_path / "site"
    (site / "toy_scorer-1.0.dist-info").mkdir(parents=True)
    (site / "toy_scorer-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: toy-scorer\n")
    (site / "toy_scorer-1.0.dist-info/entry_points.txt").write_text(ENTRY_POINTS)
    (site / "toy_scorer.py").write_text(TOY)
    monkeypatch.syspath_prepend(str(site))
    yield site
    sys.modules.pop("toy_scorer", None)


def test_an_installed_scorer_labels(icm: Icm, site: Path, tmp_path: Path) -> None:
    task, out = planted.write_task(tmp_path / "data", 8), tmp_path / "run"
    ended = icm("run", "--task", task, "--scorer", "toy:hello", "--out", out, "--search", "zero_shot")
    assert ended.code == 0, ended
    assert "the toy says hello" in ended.err
    assert json.loads((out / "journal.jsonl").read_text().splitlines()[0])["model"]["name"] == "toy"


@pytest.mark.slow
def test_an_installed_scorer_is_listed(site: Path) -> None:
    environment = {**os.environ, "COLUMNS": "200", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "icm_annealer.cli.app", "run", "--help"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "toy:" in " ".join(ended.stdout.split())


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("toy:", "needs a word"),
        ("unfinished:x", "'unfinished' (toy_scorer:unfinished) has the type object instead of ScorerKind"),
        ("absent:x", "'absent' (toy_scorer:absent) cannot be imported: AttributeError"),
        ("openai:x", "toy-scorer registers the scorer 'openai', which is built in: uninstall toy-scorer"),
        ("other:x", "'other:x' is not the name of a scorer"),
        ("other:x", "`absent:` is installed; `toy:` is installed"),
    ],
)
def test_what_is_wrong_with_an_installed_scorer_is_one_line(
    icm: Icm, site: Path, tmp_path: Path, name: str, says: str
) -> None:
    task, out = planted.write_task(tmp_path / "data", 8), tmp_path / "run"
    check_refused(icm("run", "--task", task, "--scorer", name, "--out", out), 2, says)
    assert not out.exists()


def test_each_kind_says_how_it_is_named() -> None:
    for name, kind in KINDS.items():
        assert kind.help.startswith(f"`{name}:")


@pytest.mark.parametrize("name", ["gpu-box:8000", "", "joe:hunter2@gpu-box:8000", "htp://gpu-box:8000"])
def test_a_name_of_no_kind_is_refused_without_what_may_be_secret(name: str) -> None:
    with pytest.raises(RequestError, match="http://HOST:PORT") as refused:
        find_scorer(name, Opening())
    assert "hunter2" not in refused.value.message
