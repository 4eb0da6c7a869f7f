"""Engines by name: our own, and those of other packages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from icm_client import RequestError, SyncScorerClient
from icm_server.cli import app as cli
from icm_server.config import AdapterConfig, ServerConfig
from icm_server.engines.registry import check_options, described_engines, engine_kind

TOY = '''
"""An engine that thinks every token equally likely."""

import math
import sys

from icm_server.engines.base import ReadAnswer
from icm_server.engines.fake import FakeEngine
from icm_server.engines.registry import EngineKind


class ToyEngine(FakeEngine):
    async def read(self, token_ids, target_ids, model, *rest):
        return ReadAnswer([math.log(1 / self.num_tokens)] * len(target_ids), 0)


def load(config, say):
    say(f"loading a toy with {config.engine_args}")
    engine = ToyEngine()
    engine.info = engine.info.model_copy(update={"name": config.model, "engine": "toy 1"})
    engine.num_tokens = int(config.engine_args.get("num_tokens", 4))
    return engine


ENGINE = EngineKind(load, takes=frozenset({"engine_args"}))
NOT_ONE = 3
'''
ENTRY_POINTS = """[icm.engines]
toy = toy_engine:ENGINE
broken = no_such_module:ENGINE
other = toy_engine:NOT_ONE
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package with engines, as pip installs it; a folder that is on sys.path."""
    (tmp_path / "toy_engine.py").write_text(TOY)
    metadata = tmp_path / "icm_toy-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: icm-toy\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("toy_engine", None)


def environment(folder: Path) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), *filter(None, sys.path)])}


@pytest.mark.slow
def test_a_package_s_engine_answers(installed: Path, tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    command = [sys.executable, "-m", "icm_server.cli.app", "serve", "--engine", "toy", "--model", "tiny", "--port", "0"]
    command += ["--engine-arg", "num_tokens=8", "--ready-file", str(ready)]
    process = subprocess.Popen(command, env=environment(installed), stdout=subprocess.DEVNULL)
    try:
        while not ready.exists():
            assert process.poll() is None
            time.sleep(0.02)
        with SyncScorerClient(json.loads(ready.read_text())["url"]) as scorer:
            assert scorer.model().engine == "toy 1"
            answer = scorer.score(prompts=["Word: salmon\nGroup:"], labels=[" living", " object"])
    finally:
        process.terminate()
        process.wait(30)
    assert answer.model.name == "tiny"
    assert answer.logprobs == [pytest.approx([-2.0794415] * 2)]


def test_help_and_errors_list_what_is_installed(installed: Path) -> None:
    assert described_engines().startswith("vllm (any model that vLLM runs), fake (needs no model, for trying out)")
    assert "toy (from icm-toy)" in described_engines()
    help_ = subprocess.run(
        [sys.executable, "-m", "icm_server.cli.app", "serve", "--help"],
        env=environment(installed) | {"COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "toy (from icm-toy)" in " ".join(help_.split())
    assert "toy_engine" not in sys.modules  # listing loads nothing
    with pytest.raises(RequestError, match=r"no engine 'tpy': there are vllm \(.*toy \(from icm-toy\)"):
        engine_kind("tpy")


def test_no_package_takes_the_name_of_our_own_engine(installed: Path) -> None:
    (installed / "icm_toy-1.0.dist-info" / "entry_points.txt").write_text("[icm.engines]\nfake = toy_engine:ENGINE\n")
    assert "from icm-toy" not in described_engines()
    with pytest.raises(RequestError, match="icm-toy registers the engine 'fake', which is built in: uninstall icm-toy"):
        engine_kind("fake")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (
            "broken",
            "the installed engine 'broken' \\(no_such_module:ENGINE\\) cannot be imported: ModuleNotFoundError",
        ),
        ("other", "the installed engine 'other' \\(toy_engine:NOT_ONE\\) has the type int instead of EngineKind"),
    ],
)
def test_a_package_that_cannot_be_used_is_one_line(installed: Path, name: str, says: str) -> None:
    with pytest.raises(RequestError, match=says) as raised:
        engine_kind(name)
    assert "\n" not in raised.value.message


@pytest.mark.parametrize(
    ("engine", "option", "value"),
    [("fake", "--dtype", "float32"), ("toy", "--dtype", "x")],
)
def test_an_option_that_the_engine_does_not_use_is_rejected(
    installed: Path, engine: str, option: str, value: str
) -> None:
    ended = CliRunner().invoke(cli.app, ["serve", "--engine", engine, option, value, "--port", "0"])
    assert isinstance(ended.exception, RequestError)
    assert ended.exception.message == f"the engine {engine!r} does not take {option}"


def test_vllm_takes_every_option() -> None:
    config = ServerConfig(
        dtype="float32", adapters=AdapterConfig(given={"a": "folder"}), engine_args={"block_size": 16}
    )
    check_options(engine_kind("vllm"), config)
