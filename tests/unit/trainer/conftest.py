"""A tiny model to tune, made once. Trainings compute on one thread: where cores are shared, several are slower."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.icm_command import Icm
from tests.tiny_models import save_tiny_llama

from icm_trainer.models.base_model import BaseModel


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> BaseModel:
    """A Llama with random weights, whose tokenizer puts a token in front of every text."""
    folder = save_tiny_llama(tmp_path_factory.mktemp("models") / "tiny")
    return BaseModel.find(str(folder), folder, print)


@pytest.fixture(scope="session")
def one_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def icm(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Icm:
    monkeypatch.delenv("ICM_SCORER_URL", raising=False)
    return Icm(monkeypatch, capsys)
