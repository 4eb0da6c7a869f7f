"""Finished reads, remembered: exact, within their limits, and never a wrong one whatever happened to their file."""

from __future__ import annotations

import contextlib
import logging
import math
import sqlite3
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icm_client.errors import RequestError
from icm_server.reuse import Reuse, decoded, encoded
from icm_server.reuse_file import ReuseFile

MB = 2**20


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


def answer(number: int) -> bytes:
    return encoded([-float(number), -0.5])


def filled(path: Path, num: int, max_bytes: int = 64 * MB) -> None:
    file = ReuseFile(path, max_bytes)
    for number in range(num):
        file.write(key(number), answer(number))
    file.close()


def read(path: Path, num: int) -> dict[bytes, bytes]:
    file = ReuseFile(path, 64 * MB)
    try:
        return file.read([key(number) for number in range(num)])
    finally:
        file.close()


@given(st.lists(st.floats(max_value=0.0, allow_nan=False)))
def test_answers_are_remembered_exactly(logprobs: list[float]) -> None:
    found = decoded(encoded(logprobs))
    assert found == logprobs
    assert [math.copysign(1, value) for value in found] == [math.copysign(1, value) for value in logprobs]


def test_memory_keeps_to_its_limit_by_its_own_count_and_by_python_s() -> None:
    reuse = Reuse(2 * MB)
    tracemalloc.start()
    try:
        for number in range(30_000):  # three times what fits
            reuse.remember(key(number), answer(number))
        assert tracemalloc.get_traced_memory()[0] <= 2 * MB
    finally:
        tracemalloc.stop()
    assert 1.9 * MB < reuse.num_bytes <= 2 * MB


def test_the_least_recently_used_go_first() -> None:
    reuse = Reuse(3 * 240)
    for number in range(3):
        reuse.remember(key(number), answer(number))
    assert reuse.get(key(0)) == answer(0)
    reuse.remember(key(3), answer(3))
    assert [reuse.get(key(number)) is not None for number in range(4)] == [True, False, True, True]


def test_a_file_outlives_its_process_and_serves_what_memory_has_no_room_for(tmp_path: Path) -> None:
    filled(tmp_path / "reuse", 5000)
    reuse = Reuse(0, ReuseFile(tmp_path / "reuse", 64 * MB))
    keys = [key(number) for number in range(5100)]
    assert reuse.known(keys) == {key(number): answer(number) for number in range(5000)}
    reuse.close()


def test_a_file_keeps_to_its_limit_and_what_was_written_last_stays(tmp_path: Path) -> None:
    path = tmp_path / "reuse"
    for start in range(0, 16_000, 4_000):
        file = ReuseFile(path, MB)
        for number in range(start, start + 4_000):
            file.write(key(number), answer(number))
        file.close()
    assert path.stat().st_size < 1.3 * MB
    found = read(path, 16_000)
    assert len(found) > 3000
    assert min(found) == key(16_000 - len(found))


@pytest.mark.parametrize("place", ["start", "whole"])
def test_a_damaged_file_is_moved_aside(tmp_path: Path, place: str, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "reuse"
    filled(path, 3000)
    content = bytearray(path.read_bytes())
    end = 100 if place == "start" else len(content)
    content[:end] = bytes(255 - byte for byte in content[:end])
    path.write_bytes(content)
    file = ReuseFile(path, 64 * MB)
    with caplog.at_level(logging.WARNING):
        assert file.read([key(0)]) == {}
    assert "is damaged" in caplog.text
    assert (tmp_path / "reuse.damaged").read_bytes() == content
    file.write(key(1), answer(1))
    file.close()
    assert read(path, 2) == {key(1): answer(1)}


def test_a_file_with_holes_never_gives_a_wrong_answer(tmp_path: Path) -> None:
    path = tmp_path / "reuse"
    filled(path, 3000)
    whole = path.read_bytes()
    found = []
    for start in range(4096, len(whole), 4096 * 6):
        for end in ("-wal", "-shm", ".damaged"):
            path.with_name(path.name + end).unlink(missing_ok=True)
        path.write_bytes(whole[:start] + bytes(2048) + whole[start + 2048 :])
        answers = read(path, 3000)
        assert all(found == answer(int.from_bytes(its, "big")) for its, found in answers.items())
        found.append(len(answers))
    assert max(found) > 2900


def test_a_changed_value_is_not_believed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "reuse"
    filled(path, 3)
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE answers SET answer = zeroblob(24) WHERE key = ?", [key(1)])
        database.execute("UPDATE answers SET answer = 7 WHERE key = ?", [key(2)])
    assert read(path, 3) == {key(0): answer(0)}
    assert "answers in" in caplog.text


@pytest.mark.parametrize("statement", ["CREATE TABLE notes (text)", "PRAGMA user_version = 9"])
def test_another_program_s_database_is_left_alone(tmp_path: Path, statement: str) -> None:
    path = tmp_path / "notes.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute(statement)
    before = path.read_bytes()
    file = ReuseFile(path, 64 * MB)
    with pytest.raises(RequestError, match="name another reuse file"):
        file.read([key(0)])
    file.close()
    assert path.read_bytes() == before


def test_a_folder_that_is_not_there_costs_the_file_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    reuse = Reuse(MB, ReuseFile(tmp_path / "none" / "reuse", MB))
    reuse.remember(key(0), answer(0))
    assert reuse.known([key(0), key(1)]) == {key(0): answer(0)}
    reuse.close()
    assert "is of no use now" in caplog.text
