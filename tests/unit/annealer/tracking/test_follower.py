"""A run as a tracker sees it: every pass once, however often the tracker was started anew."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests import planted
from tests.finished import finished, finished_run

from icm_annealer.runs.directory import COSTS, JOURNAL, TRACKING, RunDir
from icm_annealer.runs.journal import read_lines
from icm_annealer.runs.schema.journal import PassLine
from icm_annealer.runs.schema.rows import CostLine
from icm_annealer.tracking.follower import FileTail, Follower, follow
from icm_annealer.tracking.records import cost_step
from icm_annealer.tracking.target import Target
from icm_client import RequestError, ScorerClient


class Kept:
    """A tracker that keeps what it is shown."""

    def __init__(self) -> None:
        self.params: dict[str, str] = {}
        self.steps: list[tuple[int, dict[str, float]]] = []
        self.begun: list[str] = []
        self.ends: list[tuple[str, dict[str, str]]] = []

    def begin(self, name: str, params: Mapping[str, str]) -> str:
        self.params = dict(params)
        self.begun.append(name)
        return "key"

    def resume(self, key: str) -> None:
        self.begun.append(key)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self.steps.append((step, dict(metrics)))

    def end(self, state: str, facts: Mapping[str, str]) -> None:
        self.ends.append((state, dict(facts)))

    def values(self, ending: str) -> list[tuple[int, float]]:
        return [
            (step, value) for step, metrics in self.steps for name, value in metrics.items() if name.endswith(ending)
        ]


class Kind(Target):
    """A target whose tracker is at hand."""

    kept = Kept()

    def tracker(self) -> Kept:
        return self.kept


@pytest.fixture
def kept() -> Kept:
    Kind.kept = Kept()
    return Kind.kept


async def test_a_run_is_shown_once_however_often_the_follower_is_started(
    tmp_path: Path, scorer: ScorerClient, kept: Kept
) -> None:
    done = await finished(scorer, tmp_path / "done", planted.write_task(tmp_path / "data"))
    passes = [line for line in read_lines(tmp_path / "done" / JOURNAL) if isinstance(line, PassLine)]
    journal, costs = ((tmp_path / "done" / name).read_bytes() for name in (JOURNAL, COSTS))
    folder = RunDir(tmp_path / "grows")
    folder.prepare()
    for part in range(11):  # files that grow to any byte, and a follower that begins anew at each
        (folder / JOURNAL).write_bytes(journal[: len(journal) * part // 10])
        (folder / COSTS).write_bytes(costs[: len(costs) * part // 10])
        Follower(folder, Kind("kept", None)).look()
    for name in ("labels.jsonl", "metrics.json"):
        (folder / name).write_bytes((tmp_path / "done" / name).read_bytes())
    follow(Follower(folder, Kind("kept", None)), lambda: True)
    assert kept.begun[0] == "grows"
    assert set(kept.begun[1:]) == {"key"}
    assert kept.params["options.num_chains"] == "2"
    assert kept.params["scorer.name"] == "fake"
    assert kept.params["num_examples"] == "24"
    expected = [(line.number, line.u) for line in passes if line.u is not None]
    summary = done.metrics
    assert kept.values("/u") == [*expected, (len(passes), summary.u)]
    assert kept.values("result/u") == [(len(passes), summary.u)]
    assert sum(value for _, value in kept.values("cost/computed_tokens")) == summary.computed_tokens
    assert len(kept.ends) == 1
    state, facts = kept.ends[0]
    assert state in ("finished", "warned")
    assert facts["verdict"] == done.run.verdict.words


async def test_a_run_that_was_stopped_is_shown_as_stopped(tmp_path: Path, scorer: ScorerClient, kept: Kept) -> None:
    await finished(scorer, tmp_path / "run", planted.write_task(tmp_path / "data"))
    (tmp_path / "run" / "labels.jsonl").unlink()
    follow(Follower(RunDir(tmp_path / "run"), Kind("kept", None)), lambda: True)
    assert [state for state, _ in kept.ends] == ["stopped"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of eight examples, which no test changes."""
    return finished_run(tmp_path_factory.mktemp("made"))


@pytest.fixture
def copied(made: Path, tmp_path: Path) -> Path:
    """A copy of that run."""
    return Path(shutil.copytree(made, tmp_path / "run"))


@pytest.mark.parametrize(
    ("name", "before", "after", "says"),
    [
        (JOURNAL, '"purpose":', '"porpoise":', "request.purpose: Field required"),
        (JOURNAL, '"ids":', '"idle":', "line 1: ids: Field required"),
        (TRACKING, '"key":', '"kay":', "key: Field required"),
        (TRACKING, '"journal": ', '"journal": -', "journal: Input should be greater"),
        (TRACKING, "{", "{{", "Invalid JSON"),
        (TRACKING, '"format": 1', '"format": 2', "was written by a newer version (format 2; this one reads 1)"),
    ],
)
def test_damaged_files_are_reported_in_one_line(
    copied: Path, kept: Kept, name: str, before: str, after: str, says: str
) -> None:
    if name == TRACKING:
        Follower(RunDir(copied), Kind("kept", None)).look()
    path = copied / name
    path.write_text(path.read_text().replace(before, after, 1))
    with pytest.raises(RequestError) as raised:
        Follower(RunDir(copied), Kind("kept", None)).look()
    assert says in raised.value.message
    assert str(path) in raised.value.message
    assert "\n" not in raised.value.message


def test_a_run_that_never_began_is_not_shown(tmp_path: Path, kept: Kept) -> None:
    follow(Follower(RunDir(tmp_path), Kind("kept", None)), lambda: True)
    assert (kept.begun, kept.ends) == ([], [])


def test_lines_are_reported_when_they_are_whole(tmp_path: Path) -> None:
    tail = FileTail(tmp_path / "file")
    assert list(tail.lines()) == []
    with (tmp_path / "file").open("a") as file:
        for text, whole in [('{"a"', []), (": 1}", []), ("\nnot json\n{", [b'{"a": 1}\n', b"not json\n"]), ("", [])]:
            file.write(text)
            file.flush()
            assert list(tail.lines()) == whole


@pytest.mark.parametrize("text", ["wandb", "", "mlflows:x"])
def test_unknown_trackers_are_refused(text: str) -> None:
    with pytest.raises(RequestError, match=r"mlflow\[:URI\]"):
        Target.parse(text)


def test_what_is_no_pass_counts_for_the_last_one() -> None:
    cost = CostLine(number=None, seconds=1.5, waited=1.5, computed_tokens=3, num_reads=2)
    tokens = {"cost/prompt_tokens": 0.0, "cost/computed_tokens": 3.0, "cost/cached_tokens": 0.0}
    assert cost_step(cost, 7) == (7, {"cost/seconds": 1.5, **tokens})


@pytest.mark.parametrize(
    ("kind", "place", "shown"),
    [
        ("mlflow", "http://joe:hunter2@host:5000", "mlflow:http://host:5000"),
        ("mlflow", "sqlite:///a.db", "mlflow:sqlite:///a.db"),
        ("trackio", None, "trackio"),
    ],
)
def test_a_password_of_a_tracker_is_not_written_down(kind: str, place: str | None, shown: str) -> None:
    assert Target(kind, place).shown() == shown
