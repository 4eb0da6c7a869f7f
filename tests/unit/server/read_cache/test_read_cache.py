"""Finished reads, remembered: exact, within their limits, and never a wrong one whatever happened to their file."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import sqlite3
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icm_client.contract.errors import RequestError
from icm_server.read_cache.file import MAX_ASIDE, ReadCacheFile
from icm_server.read_cache.memory import ReadCache, decoded, encoded
from icm_server.read_cache.own_database import APPLICATION_ID, check_ours, is_ours

MB = 2**20


def key(number: int) -> bytes:
    return number.to_bytes(16, "big")


def answer(number: int) -> bytes:
    return encoded([-float(number), -0.5])


def filled(path: Path, num: int, max_bytes: int = 64 * MB) -> None:
    file = ReadCacheFile(path, max_bytes)
    for number in range(num):
        file.write(key(number), answer(number))
    file.close()


def read(path: Path, num: int) -> dict[bytes, bytes]:
    file = ReadCacheFile(path, 64 * MB)
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
    read_cache = ReadCache(2 * MB)
    tracemalloc.start()
    try:
        for number in range(30_000):  # three times what fits
            read_cache.remember(key(number), answer(number))
        assert tracemalloc.get_traced_memory()[0] <= 2 * MB
    finally:
        tracemalloc.stop()
    assert 1.9 * MB < read_cache.num_bytes <= 2 * MB


def test_the_least_recently_used_go_first() -> None:
    read_cache = ReadCache(3 * 240)
    for number in range(3):
        read_cache.remember(key(number), answer(number))
    assert read_cache.get(key(0)) == answer(0)
    read_cache.remember(key(3), answer(3))
    assert [read_cache.get(key(number)) is not None for number in range(4)] == [True, False, True, True]


def test_a_file_outlives_its_process_and_serves_what_memory_has_no_room_for(tmp_path: Path) -> None:
    filled(tmp_path / "read_cache", 5000)
    read_cache = ReadCache(0, ReadCacheFile(tmp_path / "read_cache", 64 * MB))
    keys = [key(number) for number in range(5100)]
    assert read_cache.known(keys) == {key(number): answer(number) for number in range(5000)}
    read_cache.close()


def test_a_file_keeps_to_its_limit_and_what_was_written_last_stays(tmp_path: Path) -> None:
    path = tmp_path / "read_cache"
    for start in range(0, 16_000, 4_000):
        file = ReadCacheFile(path, MB)
        for number in range(start, start + 4_000):
            file.write(key(number), answer(number))
        file.close()
    assert path.stat().st_size < 1.3 * MB
    found = read(path, 16_000)
    assert len(found) > 3000
    assert min(found) == key(16_000 - len(found))


DAMAGE = {"behind its head": slice(100, None), "tables": slice(100, 4096), "whole": slice(None)}


def damage(path: Path, place: str) -> bytes:
    """FairLock that part of a file round, in place; what stands there then."""
    content = bytearray(path.read_bytes())
    content[DAMAGE[place]] = bytes(255 - byte for byte in content[DAMAGE[place]])
    path.write_bytes(content)
    return bytes(content)


@pytest.mark.parametrize("place", ["behind its head", "tables"])
def test_a_damaged_file_is_moved_aside(tmp_path: Path, place: str, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "read_cache"
    filled(path, 3000)
    content = damage(path, place)
    check_ours(path)
    file = ReadCacheFile(path, 64 * MB)
    with caplog.at_level(logging.WARNING):
        assert file.read([key(0)]) == {}
    assert "is damaged" in caplog.text
    assert (tmp_path / "read_cache.damaged").read_bytes() == content
    file.write(key(1), answer(1))
    file.close()
    assert read(path, 2) == {key(1): answer(1)}


def test_a_file_that_was_in_use_is_known_whatever_it_says_by_now(tmp_path: Path) -> None:
    path = tmp_path / "read_cache"
    filled(path, 3000)
    file = ReadCacheFile(path, 64 * MB)
    assert len(file.read([key(0)])) == 1
    content = damage(path, "whole")
    path.with_name("read_cache-wal").unlink()
    for number in range(3000):  # until it looks into the file again
        if not file.read([key(number)]):
            break
    assert (tmp_path / "read_cache.damaged").read_bytes() == content
    file.close()


def test_what_was_moved_aside_before_stays(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "read_cache"
    (tmp_path / "read_cache.damaged").write_text("notes")
    contents = []
    for _ in range(MAX_ASIDE):
        filled(path, 300)
        contents.append(damage(path, "tables"))
        assert read(path, 300) == {}
    assert (tmp_path / "read_cache.damaged").read_text() == "notes"
    moved = [(tmp_path / f"read_cache.damaged{number}").read_bytes() for number in range(2, MAX_ASIDE + 1)]
    assert moved == contents[:-1]
    assert path.read_bytes() == contents[-1]  # there are enough
    assert "there is no read cache file from here on" in caplog.text


def test_behind_a_link_the_file_is_moved_and_not_the_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    link = tmp_path / "read_cache"
    link.symlink_to(tmp_path / "disk" / "reads")
    filled(link, 300)
    content = damage(link, "tables")
    assert read(link, 300) == {}
    assert link.is_symlink()
    assert (tmp_path / "disk" / "reads.damaged").read_bytes() == content


NOT_OURS = {
    "text": b"my notes\n" * 100,
    "a byte": b"x",
    "nothing": bytes(4096),
    "only as it begins": b"SQLite format 3\0" + bytes(200),
    "truncated": b"SQLite format 3\0",
}


@pytest.mark.parametrize("content", NOT_OURS.values(), ids=NOT_OURS.keys())
def test_a_file_of_another_s_is_refused_and_stays_as_it_is(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    before = path.stat()
    with pytest.raises(RequestError, match="belongs to another program, or is damaged") as raised:
        check_ours(path)
    assert "\n" not in raised.value.message
    file = ReadCacheFile(path, MB)  # which somebody has put there since
    assert file.read([key(0)]) == {}
    file.write(key(0), answer(0))
    file.close()
    assert "there is no read cache file" in caplog.text
    assert [each.name for each in tmp_path.iterdir()] == ["notes.txt"]
    assert path.read_bytes() == content
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_file_that_came_in_its_place_is_not_moved(tmp_path: Path) -> None:
    path = tmp_path / "read_cache"
    filled(path, 300)
    file = ReadCacheFile(path, MB)
    assert len(file.read([key(0)])) == 1
    damage(path, "whole")  # the file that is open
    path.rename(tmp_path / "elsewhere")
    path.with_name("read_cache-wal").rename(tmp_path / "elsewhere-wal")
    path.write_text("my notes")
    for number in range(300):
        file.read([key(number)])
    file.close()
    assert path.read_text() == "my notes"
    assert not (tmp_path / "read_cache.damaged").exists()


def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "into fifo").symlink_to(tmp_path / "fifo")
    for path, says in (
        (tmp_path, "is no file"),
        (tmp_path / "fifo", "is no file"),
        (tmp_path / "into fifo", "is no file"),
        (Path("/dev/null"), "is no file"),
        (tmp_path / "loop", "symbolic links"),
        (tmp_path / "none" / "read_cache", "no such folder"),
        (tmp_path / "fifo" / "read_cache", "Not a directory"),
    ):
        with pytest.raises(RequestError, match=says):
            check_ours(path)


def test_a_place_for_a_new_file_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "read_cache"
    (tmp_path / "link").symlink_to(path)
    for free in (path, tmp_path / "link"):
        check_ours(free)
    path.touch()
    check_ours(path)
    filled(path, 1)
    check_ours(path)
    path.unlink()
    path.with_name("read_cache-wal").write_text("notes")
    with pytest.raises(RequestError, match="read_cache-wal lies beside it"):
        check_ours(path)


def test_a_file_says_whose_it_is_before_anything_is_in_it(tmp_path: Path) -> None:
    """Also if its program is killed at once: nothing is in its write-ahead log alone."""
    path = tmp_path / "read_cache"
    file = ReadCacheFile(path, MB)
    assert file.read([key(0)]) == {}
    assert is_ours(path)
    file.close()


def test_a_file_with_holes_never_gives_a_wrong_answer(tmp_path: Path) -> None:
    path = tmp_path / "read_cache"
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
    path = tmp_path / "read_cache"
    filled(path, 3)
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE answers SET answer = zeroblob(24) WHERE key = ?", [key(1)])
        database.execute("UPDATE answers SET answer = 7 WHERE key = ?", [key(2)])
    assert read(path, 3) == {key(0): answer(0)}
    assert "results in" in caplog.text


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("CREATE TABLE notes (text)", "another program's"),
        ("PRAGMA application_id = 252006674", "another program's"),
        (f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 9", "another version"),
    ],
)
def test_another_program_s_database_is_left_alone(tmp_path: Path, statement: str, says: str) -> None:
    path = tmp_path / "notes.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.executescript(statement)
    before = path.read_bytes()
    with pytest.raises(RequestError, match=says):
        check_ours(path)
    assert read(path, 1) == {}
    assert path.read_bytes() == before


def test_a_folder_that_is_not_there_costs_the_file_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    read_cache = ReadCache(MB, ReadCacheFile(tmp_path / "none" / "read_cache", MB))
    read_cache.remember(key(0), answer(0))
    assert read_cache.known([key(0), key(1)]) == {key(0): answer(0)}
    read_cache.close()
    assert "no such folder" in caplog.text
