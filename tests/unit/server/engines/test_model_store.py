"""What is taken from the model hub, and what the engine gets of it."""

from __future__ import annotations

import fnmatch
import os
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from icm_server.config import ServerConfig
from icm_server.engines import vllm as vllm_engine
from icm_server.engines.model_store import model_digest, resolve
from icm_server.engines.registry import engine_kind

BESIDE = ["config.json", "tokenizer.json", "README.md", "code.py"]


class Hub:
    """One model in a folder, of which is downloaded what is asked for."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.files, self.revisions = folder, list[str](), set[str | None]()
        monkeypatch.setattr(huggingface_hub, "snapshot_download", self._download)

    def _download(self, model: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        self.revisions.add(revision)
        for name in self.files:
            if any(fnmatch.fnmatch(name, pattern) for pattern in allow_patterns):
                (self.folder / name).write_text(name)
        return str(self.folder)

    def downloaded(self) -> set[str]:
        return {path.name for path in self.folder.iterdir()}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    return Hub(tmp_path, monkeypatch)


def silent(text: str) -> None:
    pass


@pytest.mark.parametrize("is_safe", [True, False])
def test_other_weights_are_taken_only_where_there_are_no_safetensors(hub: Hub, is_safe: bool) -> None:
    hub.files = [*BESIDE, "pytorch_model.bin", *(["model.safetensors"] if is_safe else [])]
    assert resolve("owner/name", Path("nowhere"), silent) == str(hub.folder)
    weights = "model.safetensors" if is_safe else "pytorch_model.bin"
    assert hub.downloaded() == {"config.json", "tokenizer.json", weights}


def test_a_revision_is_downloaded_and_its_code_only_if_that_is_trusted(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[dict[str, Any]] = []
    monkeypatch.setattr(vllm_engine, "prepare", lambda verbose: None)
    monkeypatch.setattr(vllm_engine, "version", lambda: "0")
    monkeypatch.setattr(vllm_engine.VllmEngine, "load", lambda *_, extra, **__: loaded.append(extra))
    hub.files = [*BESIDE, "model.safetensors"]
    engine_kind("vllm").load(ServerConfig(model="owner/name", engine_args={"revision": "v2", "block_size": 16}), silent)
    assert "code.py" not in hub.downloaded()
    arguments = {"revision": "v2", "trust_remote_code": True}
    engine_kind("vllm").load(ServerConfig(model="owner/name", engine_args=arguments), silent)
    assert "code.py" in hub.downloaded()
    assert hub.revisions == {"v2"}
    assert loaded == [{"block_size": 16}, {"trust_remote_code": True}]


def test_what_is_remembered_of_a_model_goes_into_its_folder_and_nowhere_else(tmp_path: Path) -> None:
    """Models come from anywhere: what has the name of our file may lead to another's, or never end."""
    model, notes = tmp_path / "model", tmp_path / "notes.txt"
    model.mkdir()
    (model / "config.json").write_text("{}")
    notes.write_text("my notes")
    expected = model_digest(model, "vllm 1")
    assert model_digest(model, "vllm 1") == expected
    memory = model / ".icm-digest.json"
    memory.unlink()
    memory.symlink_to(notes)
    assert model_digest(model, "vllm 1") == expected
    assert notes.read_text() == "my notes"
    assert not memory.is_symlink()
    memory.unlink()
    os.mkfifo(memory)
    assert model_digest(model, "vllm 1") == expected
    memory.write_text("[" * 10**5)
    assert model_digest(model, "vllm 1") == expected
    assert {path.name for path in model.iterdir()} == {"config.json", ".icm-digest.json"}
