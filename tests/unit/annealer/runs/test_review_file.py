"""Decisions of people: written whole, in order, by several processes, and never lost."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests import planted
from tests.finished import finished

from icm_annealer.runs.directory import REVIEW
from icm_annealer.runs.record import RunRecord
from icm_annealer.runs.review_file import Decided, ReviewFile
from icm_annealer.runs.schema.base import NewerFormatError
from icm_annealer.runs.schema.review import Decision
from icm_client import RequestError, ScorerClient

IDS, LABELS_OF_RUN = {"a", "b"}, {"hot", "cool"}


def review_file(folder: Path) -> ReviewFile:
    return ReviewFile(folder / REVIEW, IDS, LABELS_OF_RUN)


def decision(name: str, label: str | None, was: str = "hot") -> Decision:
    return Decision(id=name, label=label, was=was)


def test_the_last_decision_counts_and_may_be_taken_back(tmp_path: Path) -> None:
    file = review_file(tmp_path)
    assert file.read() == {}
    assert file.append(decision("a", "hot"), 0)
    assert file.append(decision("a", "cool"), 1)
    assert file.append(decision("b", "cool"), 0)
    assert file.append(decision("b", None), 1)
    assert file.read() == review_file(tmp_path).read() == {"a": decision("a", "cool")}
    assert len((tmp_path / REVIEW).read_text().splitlines()) == 4


def test_two_who_decide_at_once_do_not_overwrite_each_other(tmp_path: Path) -> None:
    first, second = review_file(tmp_path), review_file(tmp_path)
    assert first.append(decision("a", "cool"), 0)
    assert not second.append(decision("a", "hot"), 0)
    assert second.append(decision("b", "hot"), 0)
    assert second.append(decision("a", "hot"), 1)
    assert first.read() == second.read() == {"a": decision("a", "hot"), "b": decision("b", "hot")}


def test_a_line_that_was_cut_by_a_kill_is_ignored_and_replaced(tmp_path: Path) -> None:
    review_file(tmp_path).append(decision("a", "cool"), 0)
    with (tmp_path / REVIEW).open("ab") as file:
        file.write(b'{"format":1,"id":"b","la')
    assert review_file(tmp_path).read() == {"a": decision("a", "cool")}
    review_file(tmp_path).append(decision("b", "hot"), 0)
    assert set(review_file(tmp_path).read()) == {"a", "b"}


def test_a_file_that_was_replaced_is_read_again(tmp_path: Path) -> None:
    file = review_file(tmp_path)
    file.append(decision("a", "cool"), 0)
    file.append(decision("b", "cool"), 0)
    lines = (tmp_path / REVIEW).read_text().splitlines(keepends=True)
    (tmp_path / "new").write_text(lines[1])
    os.replace(tmp_path / "new", tmp_path / REVIEW)
    assert set(file.read()) == {"b"}
    (tmp_path / REVIEW).unlink()
    assert file.read() == {}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("[]", "line 2"),
        ('{"id":"a"}', "line 2: label"),
        ('{"id":"c","label":"hot","was":"hot"}', "line 2: no example of the run has the id 'c'"),
        ('{"id":"a","label":"warm","was":"hot"}', "line 2: 'warm' or 'hot' is no label of the run"),
    ],
)
def test_a_damaged_line_is_named(tmp_path: Path, line: str, says: str) -> None:
    review_file(tmp_path).append(decision("a", "cool"), 0)
    with (tmp_path / REVIEW).open("a") as file:
        file.write(line + "\n")
    with pytest.raises(RequestError) as raised:
        review_file(tmp_path).read()
    assert says in raised.value.message
    assert "\n" not in raised.value.message


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / REVIEW).write_text('{"format":2,"id":"a"}\n')
    with pytest.raises(NewerFormatError, match=r"review\.jsonl, line 1 was written by a newer version"):
        review_file(tmp_path).read()


def test_writers_wait_for_each_other(tmp_path: Path) -> None:
    """Each has opened the file itself, as a process does."""

    def write(name: str) -> bool:
        file = review_file(tmp_path)
        return all(file.append(decision(name, "hot"), number) for number in range(50))

    with ThreadPoolExecutor() as writers:
        assert list(writers.map(write, "ab")) == [True, True]
    file = review_file(tmp_path)
    file.read()
    assert (file.num_of("a"), file.num_of("b")) == (50, 50)


async def test_a_run_has_the_labels_that_people_decided(tmp_path: Path, scorer: ScorerClient) -> None:
    """The last word counts: of the review, or of an edit of labels.jsonl made after it."""
    await finished(scorer, tmp_path / "run", planted.write_task(tmp_path / "data", 8))
    record = RunRecord.read(tmp_path / "run")
    other = {"hot": "cool", "cool": "hot"}
    found = [row.label for row in record.rows()]
    accepted, changed, edited = record.ids[:3]
    for name, label, was in (
        (accepted, found[0], found[0]),
        (changed, other[found[1]], found[1]),
        (edited, other[found[2]], other[found[2]]),
    ):
        assert record.review().append(Decision(id=name, label=label, was=was), 0)
    rows = record.rows()
    assert [row.label for row in rows] == [found[0], other[found[1]], found[2], *found[3:]]
    assert [row.is_decided for row in rows] == [True, True, False, *[False] * 5]
    assert [row.certainty == 1 for row in rows[:2]] == [True, True]
    assert Decided.of(rows) == (1, 1, 1, 8)
    assert "1 label was edited after its review" in str(Decided.of(rows))
