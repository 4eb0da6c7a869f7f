"""`icm sweep` against the real application with the fake engine: which runs are made, and what is asked for them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import ASGIApp, Receive, Scope, Send
from tests import planted
from tests.http_app import running
from tests.icm_command import Icm, wait_for

import icm_annealer
from icm_annealer.console.sweep_progress import SweepProgress
from icm_annealer.console.terminal import Terminal
from icm_annealer.runs.directory import COSTS, JOURNAL, LABELS, REPORT, RESCORE, STARTED
from icm_annealer.searches.settings import options_for
from icm_annealer.sweeping.held import held_runs, move_renamed
from icm_annealer.sweeping.mistakes import Mistakes
from icm_annealer.sweeping.plan import ScorerDefaults, SweepPlan, make_plan
from icm_annealer.sweeping.spec import read_spec
from icm_annealer.sweeping.sweep import SweepLimits, run_sweep
from icm_server.engines.fake import FakeEngine
from icm_server.http.app import create_app

SWEEP = """\
tasks: {planted: task.yaml}
settings:
  short: {search: blocks, chains: 2, passes: 4}
  zero: zero_shot
scorers: {fake: URL}
seeds: 2
"""
WRONG = """\
tasks: {planted: task.yaml, rare: {task: task.yaml, rates: {hot: 0.1}}, gone: nothing.yaml}
settings:
  short: {search: blocks, passses: 4}
  first: official
scorers: {fake: "ftp://box"}
seeds: -1
retries: 3
"""
RUNS = [f"planted.{setting}.fake/seed-{seed}" for setting in ("short", "zero") for seed in (0, 1)]
WINDOW = 300
"""The fake model's window, in tokens."""


@dataclass
class Asked:
    """The requests to a scorer."""

    url: str = ""
    paths: list[str] = field(default_factory=list)
    num_failing: int = 0
    """So many of the next requests to score fail."""

    @property
    def num_scored(self) -> int:
        return self.paths.count("/v1/score")


class Counted:
    """Middleware that counts requests, and fails some."""

    def __init__(self, app: ASGIApp, asked: Asked):
        self._app, self._asked = app, asked

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self._asked.paths.append(scope["path"])
            if scope["path"] == "/v1/score" and self._asked.num_failing:
                self._asked.num_failing -= 1
                await send({"type": "http.response.start", "status": 500, "headers": []})
                await send({"type": "http.response.body", "body": b"{}"})
                return
        await self._app(scope, receive, send)


@contextlib.contextmanager
def fake_scorer() -> Iterator[Asked]:
    async def make_engine() -> FakeEngine:
        return FakeEngine(max_prompt_tokens=WINDOW)

    asked, app = Asked(), create_app(make_engine)
    app.add_middleware(Counted, asked=asked)
    with running(app) as asked.url:
        yield asked


@pytest.fixture
def scorer() -> Iterator[Asked]:
    with fake_scorer() as asked:
        yield asked


def write_sweep(folder: Path, url: str, text: str = SWEEP) -> Path:
    planted.write_task(folder, 12)
    (folder / "sweep.yaml").write_text(text.replace("URL", url))
    return folder / "sweep.yaml"


def content(folder: Path) -> dict[str, bytes]:
    """What the same answers make the same: journals and labels, by run."""
    return {name: (folder / name / JOURNAL).read_bytes() + (folder / name / LABELS).read_bytes() for name in RUNS}


@dataclass
class Swept:
    """A sweep that ran to its end."""

    file: Path
    out: Path
    content: dict[str, bytes]
    num_scored: int
    num_tokens: int
    counted_as: set[str]
    """The names under which the scorer counted the runs."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Swept:
    """Made by the functions of the command, with a scorer of its own."""
    folder = tmp_path_factory.mktemp("whole")
    with fake_scorer() as asked:
        file = write_sweep(folder, asked.url)
        plan = planned(file, folder / "out")
        outcomes = asyncio.run(run_sweep(plan, held_runs(plan), SweepLimits(), quiet())).outcomes
        assert [one.ended for one in outcomes.values()] == ["done"] * 4
        tokens = sum(one["computed_tokens"] for name in RUNS for one in costs(folder / "out" / name))
        overview = httpx.get(f"{asked.url}/v1/experiments").json()
        counted_as = {row["experiment"] for row in overview["experiments"]}
        return Swept(file, folder / "out", content(folder / "out"), asked.num_scored, tokens, counted_as)


def planned(file: Path, out: Path) -> SweepPlan:
    return make_plan(read_spec(file, Mistakes()), file.parent, out, ScorerDefaults("fake:"))


def quiet() -> SweepProgress:
    return SweepProgress(Terminal(quiet=True), "sweep")


def costs(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / COSTS).read_text().splitlines()]


def passes(folder: Path) -> int:
    """The passes in the journal of a run."""
    lines = (folder / JOURNAL).read_text().splitlines() if (folder / JOURNAL).exists() else []
    return sum('"kind":"pass"' in line for line in lines)


def test_labels_are_those_of_single_runs(whole: Swept, scorer: Asked, tmp_path: Path) -> None:
    task = whole.file.parent / "task.yaml"
    for seed in (0, 1):
        options = options_for("blocks", chains=2, passes=4)
        run = tmp_path / f"seed-{seed}"
        icm_annealer.label(task=str(task), scorer=scorer.url, out=run, seed=seed, options=options)
        alone = (run / JOURNAL).read_bytes() + (run / LABELS).read_bytes()
        assert alone == whole.content[f"planted.short.fake/seed-{seed}"]


def test_each_run_is_counted_under_a_name_of_its_own(whole: Swept) -> None:
    """So that several scorers share the runs."""
    kept = [json.loads((whole.out / name / STARTED).read_text())["experiment"] for name in RUNS]
    assert whole.counted_as == set(kept)
    assert len(set(kept)) == len(RUNS)
    assert kept[0].startswith("default-planted.short.fake-0-")


def test_a_rerun_does_nothing_and_asks_nothing(whole: Swept, icm: Icm) -> None:
    ended = icm("sweep", whole.file, "--out", whole.out)  # its scorer is gone
    assert ended.code == 0, ended
    assert "4 of 4 runs done, 4 of them before" in ended.out
    assert content(whole.out) == whole.content
    table = json.loads((whole.out / "sweep.json").read_text())
    short, zero = table["groups"]
    assert short["num_done"] == zero["num_done"] == 2
    assert short["labels_right"]["low"] <= short["labels_right"]["value"] <= short["labels_right"]["high"]
    assert sum(run["tokens"] for group in table["groups"] for run in group["runs"]) == whole.num_tokens
    assert len((whole.out / "table.csv").read_text().splitlines()) == 5
    page = (whole.out / REPORT).read_text()
    assert "planted.short.fake" in page
    assert ">short.fake</text>" in page  # below the task's name
    assert ">U (nats per example)</text>" in page


@pytest.mark.slow
def test_a_renamed_run_is_moved_and_a_changed_one_refused(icm: Icm, scorer: Asked, tmp_path: Path) -> None:
    file, out = write_sweep(tmp_path, scorer.url, SWEEP.replace("seeds: 2", "seeds: 1")), tmp_path / "out"
    assert icm("sweep", file, "--out", out).code == 0
    num_asked = len(scorer.paths)
    file.write_text(file.read_text().replace("zero:", "no_shots:"))
    ended = icm("sweep", file, "--out", out)
    assert ended.code == 0, ended
    assert len(scorer.paths) == num_asked
    assert sorted(path.name for path in out.glob("planted.*")) == ["planted.no_shots.fake", "planted.short.fake"]
    file.write_text(file.read_text().replace("passes: 4", "passes: 5"))
    ended = icm("sweep", file, "--out", out)
    assert ended.code == 2
    assert "planted.short.fake/seed-0: holds a run with other settings: options max_passes was 4, is now 5" in ended.err
    assert icm("sweep", file, "--out", out, "--overwrite").code == 0
    assert len(scorer.paths) > num_asked


def test_a_run_is_moved_only_where_its_name_and_its_scorer_are_certain(icm: Icm, whole: Swept, tmp_path: Path) -> None:
    """Not from a name that --only leaves out, nor between two scorers whose addresses are not kept."""
    url = "http://me:secret@127.0.0.1:9"
    (tmp_path / "out").mkdir()
    for name in RUNS:
        shutil.copytree(whole.out / name, tmp_path / "out" / name)
    file = write_sweep(tmp_path, json.loads((whole.out / RUNS[0] / "started.json").read_text())["scorer"])
    file.write_text(file.read_text().replace("  zero:", "  same: {search: blocks, chains: 2, passes: 4}\n  zero:"))
    ended = icm("sweep", file, "--out", tmp_path / "out", "--only", "planted.same.*", "--retries", 0, "--wait", 0)
    assert ended.code == 1, ended
    assert content(tmp_path / "out") == whole.content
    for name in RUNS:
        started = tmp_path / "out" / name / "started.json"
        started.write_text(json.dumps(json.loads(started.read_text()) | {"scorer": None}))
    plan = planned(write_sweep(tmp_path, url), tmp_path / "out")
    assert not any(held.has_scorer for held in held_runs(plan).values())
    plan = planned(write_sweep(tmp_path, url, SWEEP.replace("fake:", "other:")), tmp_path / "out")
    move_renamed(plan)
    assert content(tmp_path / "out") == whole.content


@pytest.mark.slow
def test_a_failing_task_is_listed_and_the_others_go_on(icm: Icm, scorer: Asked, tmp_path: Path) -> None:
    planted.write_task(tmp_path / "long")
    rows = [{"id": str(number), "words": "hot " * (number + WINDOW), "label": "hot"} for number in range(4)]
    planted.write_rows(tmp_path / "long" / "data.jsonl", rows)
    text = SWEEP.replace("{planted: task.yaml}", "{long: long/task.yaml, planted: task.yaml}")
    file, out = write_sweep(tmp_path, scorer.url, text), tmp_path / "out"
    ended = icm("sweep", file, "--out", out)
    assert ended.code == 1, ended
    assert "4 of 8 runs done" in ended.out
    failed = [line for line in ended.out.splitlines() if line.startswith("long.short.fake/seed-1 failed: ")]
    assert len(failed) == 1
    assert all((out / name / LABELS).exists() for name in RUNS)
    assert "Traceback" not in ended.out + ended.err
    num_before = scorer.num_scored
    again = icm("sweep", file, "--out", out)
    assert again.code == 1
    assert "4 done before" in again.err
    assert scorer.num_scored - num_before <= 4 * 2  # of the failing ones only


@pytest.mark.slow
def test_failures_are_retried_with_growing_pauses(scorer: Asked, tmp_path: Path) -> None:
    plan, pauses = planned(write_sweep(tmp_path, scorer.url), tmp_path / "out"), []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        scorer.num_failing = 1 if len(pauses) == 1 else 0

    scorer.num_failing = 10**9
    limits = SweepLimits(first_wait_s=5, max_wait_s=20)
    outcomes = asyncio.run(run_sweep(plan, held_runs(plan), limits, quiet(), sleep=sleep)).outcomes
    assert {one.ended for one in outcomes.values()} == {"done"}
    assert pauses == [5, 10]

    async def stay(seconds: float) -> None:
        pauses.append(seconds)

    scorer.num_failing, plan = 10**9, planned(tmp_path / "sweep.yaml", tmp_path / "never")
    outcomes = asyncio.run(run_sweep(plan, held_runs(plan), limits, quiet(), sleep=stay)).outcomes
    assert {one.ended for one in outcomes.values()} == {"failed"}
    assert pauses[2:] == [5, 10, 20]


@pytest.mark.slow
def test_the_budget_ends_a_sweep_in_order(icm: Icm, whole: Swept, scorer: Asked, tmp_path: Path) -> None:
    file, out = write_sweep(tmp_path, scorer.url), tmp_path / "out"
    budget = whole.num_tokens // 2
    ended = icm("sweep", file, "--out", out, "--max-parallel", 1, "--max-tokens", budget)
    assert ended.code == 1, ended
    assert "unfinished: the sweep's budget of tokens was spent" in ended.out
    spent = sum(one["computed_tokens"] for name in RUNS if (out / name).exists() for one in costs(out / name))
    largest = max(one["computed_tokens"] for name in RUNS for one in costs(whole.out / name))
    assert budget - 2 * largest <= spent <= budget + 2 * largest
    table = json.loads((out / "sweep.json").read_text())
    assert sum(run["tokens"] for group in table["groups"] for run in group["runs"]) == spent
    assert icm("sweep", file, "--out", out, "--max-tokens", 10 * whole.num_tokens).code == 0
    assert content(out) == whole.content


def test_all_mistakes_are_found_before_anything_starts(icm: Icm, tmp_path: Path) -> None:
    """Of the file's form, of what it names, and of what does not go together."""
    file = write_sweep(tmp_path, "ftp://box")
    file.write_text(WRONG)
    ended = icm("sweep", file, "--out", tmp_path / "out")
    assert ended.code == 2
    places = [line.removeprefix("error: ").removeprefix(f"{file}: ").split(": ")[0] for line in ended.err.splitlines()]
    of_file, of_plan = ["settings.short.passses", "seeds", "retries"], ["tasks.gone", "scorers.fake"]
    assert places == [*of_file, *of_plan, "tasks.rare with settings.first"]
    (tmp_path / "empty.yaml").write_text("")
    assert "a mapping with `tasks` is needed" in icm("sweep", tmp_path / "empty.yaml").err
    file.write_text(SWEEP.replace("URL", "ftp://box").replace("zero_shot", "zero_shots").replace("task.", "tsk."))
    ended = icm("sweep", file, "--out", tmp_path / "out")
    assert ended.code == 2
    assert [line.split(": ")[1] for line in ended.err.splitlines()] == [
        "tasks.planted",
        "scorers.fake",
        "settings.zero",
    ]
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_killed_sweep_asks_only_for_what_is_missing(icm: Icm, whole: Swept, scorer: Asked, tmp_path: Path) -> None:
    file, out = write_sweep(tmp_path, scorer.url), tmp_path / "out"
    command = [sys.executable, "-m", "icm_annealer.cli.app", "sweep", str(file), "--out", str(out)]
    process = subprocess.Popen([*command, "--max-parallel", "1"], stdout=subprocess.DEVNULL)
    wait_for(process, lambda: passes(out / RUNS[1]) >= 2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    num_kept = sum(passes(out / name) for name in RUNS)
    num_rescored = sum((out / name / RESCORE).exists() for name in RUNS)
    first = (out / RUNS[0] / COSTS).read_bytes()
    scorer.paths.clear()
    assert icm("sweep", file, "--out", out).code == 0
    assert content(out) == whole.content
    assert (out / RUNS[0] / COSTS).read_bytes() == first
    num_passes = sum(passes(whole.out / name) for name in RUNS)
    assert scorer.num_scored == num_passes - num_kept + len(RUNS) - num_rescored
