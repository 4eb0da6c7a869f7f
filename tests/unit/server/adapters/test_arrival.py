"""Folders that a key names: only below the scorer's adapter folder, and through no links."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.adapter_files import save_adapter

from icm_client.contract.adapters import CONFIG_FILE, WEIGHTS_FILE
from icm_client.contract.errors import RequestError, TooLargeError
from icm_server.adapters.arrival import Arrival
from icm_server.adapters.room import Room
from icm_server.config import AdapterLimits


@pytest.fixture
def arrival(tmp_path: Path) -> Arrival:
    folder = tmp_path / "arriving"
    folder.mkdir()
    return Arrival(folder, Room(AdapterLimits(max_adapter_mb=1), shared=False).place("alice"))


def test_a_folder_below_is_copied(tmp_path: Path, arrival: Arrival) -> None:
    source = save_adapter(tmp_path / "root/alice/run 1")
    (source / "README.md").write_text("no part of it")
    arrival.copy(tmp_path / "root", "alice/./run 1/")
    assert {file.name for file in arrival.folder.iterdir()} == {CONFIG_FILE, WEIGHTS_FILE}
    assert (arrival.folder / WEIGHTS_FILE).read_bytes() == (source / WEIGHTS_FILE).read_bytes()
    assert arrival.place.num_bytes == sum(file.stat().st_size for file in arrival.folder.iterdir())


@pytest.mark.parametrize(
    "name",
    [
        *("..", "../secret", "a/../../secret", "/etc", "", ".", "\0", "none", "link", "a/link", "to_file"),
        *("a" * 5000, "/".join("a" * 100), "fifo", "to_fifo", "a\nb"),
    ],
)
def test_no_other_folder_is(tmp_path: Path, arrival: Arrival, name: str) -> None:
    root = tmp_path / "root"
    (root / "a").mkdir(parents=True)
    secret = save_adapter(tmp_path / "secret")
    for link in (root / "link", root / "a/link"):
        link.symlink_to(secret)
    save_adapter(root / "to_file")
    (root / "to_file" / WEIGHTS_FILE).unlink()
    (root / "to_file" / WEIGHTS_FILE).symlink_to(secret / WEIGHTS_FILE)
    os.mkfifo(root / "fifo")
    save_adapter(root / "to_fifo")
    (root / "to_fifo" / CONFIG_FILE).unlink()
    os.mkfifo(root / "to_fifo" / CONFIG_FILE)
    with pytest.raises(RequestError) as raised:
        arrival.copy(root, name)
    assert raised.value.code == "no_adapter_folder"
    assert not (arrival.folder / WEIGHTS_FILE).exists()


def test_nothing_is_larger_than_its_limit(tmp_path: Path, arrival: Arrival) -> None:
    source = save_adapter(tmp_path / "root/a")
    with (source / WEIGHTS_FILE).open("r+b") as file:
        file.truncate(2**40)  # it takes no room on the disk
    with pytest.raises(TooLargeError, match="larger than 1048576 bytes"):
        arrival.copy(tmp_path / "root", "a")
    assert sum(file.stat().st_size for file in arrival.folder.iterdir()) <= 2**20
