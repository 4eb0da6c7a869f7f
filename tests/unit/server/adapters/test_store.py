"""What is kept over a restart, and what an interruption leaves."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.adapter_files import save_adapter

from icm_client.contract.errors import RequestError
from icm_server.adapters.store import ENTRY, Entry, Store


def put(store: Store, name: str, owner: str | None = "alice", seed: int = 0) -> Path:
    _, folder = store.place(save_adapter(store.partial(), seed))
    store.commit(folder, Entry(owner=owner, name=name, digest=str(seed)))
    return folder


def test_what_was_committed_is_there_after_a_restart_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "store"
    store = Store.open(path)
    put(store, "a", seed=1)
    newer = put(store, "a", seed=2)
    gone = put(store, "b")
    store.forget(gone)
    put(store, "a", owner=None, seed=3)
    store.partial()
    store.place(save_adapter(store.partial()))  # killed before it was committed
    damaged = put(store, "c")
    (damaged / ENTRY).write_text("{")
    store.close()
    again = Store.open(path)
    assert [(each.entry.owner, each.entry.name, each.entry.digest) for each in again.entries] == [
        ("alice", "a", "2"),
        (None, "a", "3"),
    ]
    assert again.entries[0].folder == newer
    assert len(list(path.iterdir())) == 3
    assert again.next_number() == 7  # no number comes twice, so no engine takes one adapter for another


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    with pytest.raises(RequestError, match="it holds other files") as raised:
        Store.open(tmp_path)
    assert raised.value.code == "adapter_store"
    assert (tmp_path / "7").exists()
    with pytest.raises(RequestError, match="No such file"):
        Store.open(tmp_path / "none/store")


def test_two_scorers_do_not_share_one(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "store")
    with pytest.raises(RequestError, match="another scorer uses it"):
        Store.open(tmp_path / "store")
    store.close()
    Store.open(tmp_path / "store").close()
