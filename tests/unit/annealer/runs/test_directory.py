"""A run's folder: which files are written, and which are kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from icm_annealer.runs.directory import COSTS, JOURNAL, RESULTS, REVIEW, SCORER_LOG, RunDir
from icm_annealer.runs.lock import LOCK
from icm_annealer.runs.set_aside import set_aside
from icm_client.contract.errors import RequestError


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("name", RESULTS)
def test_a_file_that_is_no_run_s_is_not_replaced_unasked(tmp_path: Path, name: str, resume: bool) -> None:
    (tmp_path / name).write_text("my own")
    with pytest.raises(RequestError, match=f"holds {name} of something else") as raised:
        RunDir(tmp_path).prepare(resume=resume)
    assert "\n" not in raised.value.message
    assert (tmp_path / name).read_text() == "my own"
    RunDir(tmp_path).prepare(overwrite=True)
    assert not (tmp_path / name).exists()


def test_a_run_is_replaced_when_the_new_one_has_begun(tmp_path: Path) -> None:
    """Not before: neither if the new one fails, nor if its process is killed."""
    folder = RunDir(tmp_path)
    (folder / JOURNAL).write_text("earlier")
    for end in (folder.forget, folder.release, lambda: None):  # the last one is killed
        folder.prepare(overwrite=True)
        (folder / JOURNAL).write_text("new")
        end()
    folder.prepare(resume=True)
    assert (folder / JOURNAL).read_text() == "earlier"
    folder.prepare(overwrite=True)
    folder.begun()
    assert [path.name for path in tmp_path.iterdir()] == [LOCK]
    (folder / JOURNAL).write_text("new")
    folder.release()
    folder.prepare(resume=True)
    assert (folder / JOURNAL).read_text() == "new"


def test_what_another_process_keeps_aside_is_left_to_it(tmp_path: Path) -> None:
    """One that was refused since another one writes releases the folder all the same."""
    folder = RunDir(tmp_path)
    (folder / JOURNAL).write_text("earlier")
    set_aside(tmp_path, [JOURNAL])
    (folder / JOURNAL).write_text("new")
    folder.release()
    assert (folder / JOURNAL).read_text() == "new"


def test_what_a_run_leaves_before_it_has_a_journal_is_no_hindrance(tmp_path: Path) -> None:
    for name in (SCORER_LOG, COSTS, "notes.txt"):
        (tmp_path / name).write_text("")
    RunDir(tmp_path).prepare()


def test_decisions_of_people_are_never_removed(tmp_path: Path) -> None:
    for name in (JOURNAL, REVIEW):
        (tmp_path / name).write_text("")
    with pytest.raises(RequestError, match=r"review\.jsonl holds decisions of people"):
        RunDir(tmp_path).prepare(overwrite=True)
    assert (tmp_path / JOURNAL).exists()
    RunDir(tmp_path).prepare(resume=True)
