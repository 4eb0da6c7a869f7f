"""Exports are written whole or not at all, and never over what is not theirs."""

from __future__ import annotations

from pathlib import Path

import pytest

from icm_annealer.runs.atomic_write import check_place, write_whole
from icm_client import RequestError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def dataset(text: str, place: Path) -> None:
    place.mkdir()
    (place / "state.json").write_text(text)


def test_a_file_is_replaced_only_if_asked(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out.csv"
    check_place(out, overwrite=False, is_folder=False)
    write_whole(out, lambda path: path.write_text("one") and None)
    with pytest.raises(RequestError, match="--overwrite"):
        check_place(out, overwrite=False, is_folder=False)
    check_place(out, overwrite=True, is_folder=False)
    write_whole(out, lambda path: path.write_text("two") and None)
    assert out.read_text() == "two"
    assert names(out.parent) == ["out.csv"]


def test_a_saved_dataset_is_replaced_as_a_whole(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_whole(out, lambda path: dataset("one", path))
    (out / "data-of-one.arrow").write_text("old")
    check_place(out, overwrite=True, is_folder=True)
    write_whole(out, lambda path: dataset("two", path))
    assert names(out) == ["state.json"]
    assert (out / "state.json").read_text() == "two"
    assert names(tmp_path) == ["out"]


def test_no_other_folder_is_ever_replaced(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "file").write_text("x")
    for is_folder in (True, False):
        with pytest.raises(RequestError, match="is a folder"):
            check_place(tmp_path / "mine", overwrite=True, is_folder=is_folder)
    with pytest.raises(RequestError, match="is a file"):
        check_place(tmp_path / "file", overwrite=True, is_folder=True)
    with pytest.raises(RequestError, match="File exists"):
        check_place(tmp_path / "file" / "out.csv", overwrite=True, is_folder=False)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RequestError("no pairs")])
def test_what_fails_leaves_everything_as_it_was(tmp_path: Path, error: Exception) -> None:
    out = tmp_path / "out.csv"
    out.write_text("before")

    def fail(path: Path) -> None:
        path.write_text("half")
        raise error

    with pytest.raises(RequestError, match=r"No space|no pairs"):
        write_whole(out, fail)
    assert out.read_text() == "before"
    assert names(tmp_path) == ["out.csv"]


def test_what_a_killed_export_left_behind_is_in_nobodys_way(tmp_path: Path) -> None:
    out = tmp_path / "out"
    dataset("half", tmp_path / ".out.partial")
    dataset("old", tmp_path / ".out.old")
    dataset("before", out)
    check_place(out, overwrite=True, is_folder=True)
    write_whole(out, lambda path: dataset("after", path))
    assert (out / "state.json").read_text() == "after"
    assert names(tmp_path) == ["out"]
