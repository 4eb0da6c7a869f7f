"""A run that is made for a sweep on another machine, by JSON alone; here in this process, without a cluster."""

from __future__ import annotations

import asyncio
import dataclasses
import importlib.util
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from tests import planted

from icm_annealer.api.job import LabelJob
from icm_annealer.console.sweep_progress import ShownRun, SweepProgress
from icm_annealer.console.terminal import Terminal
from icm_annealer.runs.directory import COSTS, JOURNAL, LABELS, STARTED, RunDir
from icm_annealer.scorers.kind import ScorerKind
from icm_annealer.scoring.limited_scorer import BudgetSpentError
from icm_annealer.sweeping.distant_run import Event, follow, make_run, order_of
from icm_annealer.sweeping.held import held_runs
from icm_annealer.sweeping.meter import Meter
from icm_annealer.sweeping.mistakes import Mistakes
from icm_annealer.sweeping.place import Made, ModelCheck, OtherModelError
from icm_annealer.sweeping.plan import PlannedRun, ScorerDefaults, SweepPlan, make_plan
from icm_annealer.sweeping.ray_cluster import ray_cluster
from icm_annealer.sweeping.spec import spec_of
from icm_annealer.sweeping.sweep import SweepLimits, run_sweep
from icm_client.contract.errors import IcmError, RequestError, UnavailableError
from icm_client.contract.wire import ModelIdentity

SHORT = {"search": "blocks", "chains": 2, "passes": 4}


@pytest.fixture(scope="module")
def plan(url: str, tmp_path_factory: pytest.TempPathFactory) -> SweepPlan:
    return planned(url, tmp_path_factory.mktemp("distant"))


def planned(url: str, folder: Path) -> SweepPlan:
    planted.write_task(folder, 12)
    of_task = {"task": "task.yaml", "rates": {"hot": [0.3, 0.7]}}
    what = {"tasks": {"planted": of_task}, "settings": {"short": SHORT}, "seeds": 2}
    return make_plan(spec_of(what, Mistakes()), folder, folder / "out", ScorerDefaults(url, wait_s=60))


def order(plan: SweepPlan, place: Path, **other: Any) -> str:
    """The order of the plan's second run in `place`, which is prepared for it."""
    place.mkdir(parents=True, exist_ok=True)
    (place / STARTED).write_text("{}")
    run = plan.runs[1]
    job = dataclasses.replace(run.job, folder=RunDir(place))
    return json.dumps(json.loads(order_of(plan, run, job, None)) | other)


def followed(events: Iterable[str], meter: Meter, found: Callable[[ModelIdentity], None] = lambda _: None) -> Made:
    async def texts() -> AsyncIterator[str]:
        for event in events:
            yield event

    return asyncio.run(follow(texts(), ShownRun(0, lambda _: None), meter, found))


def unlimited() -> Meter:
    return Meter(None, 0, lambda _: None)


def test_it_is_the_run_that_this_process_would_make(plan: SweepPlan, tmp_path: Path) -> None:
    place, own, tokens = tmp_path / "there/run", tmp_path / "here/run", list[int]()
    events = list(make_run(order(plan, place)))
    made = followed(events, Meter(None, 0, tokens.append))
    job = dataclasses.replace(plan.runs[1].job, folder=RunDir(own))
    job.prepare()
    result = asyncio.run(job.run(ShownRun(0, lambda _: None)))
    for name in (JOURNAL, LABELS):
        assert (place / name).read_bytes() == (own / name).read_bytes()
    passes = [event for event in map(Event.model_validate_json, events) if event.passed]
    assert len(passes) == (place / JOURNAL).read_text().count('"kind":"pass"')
    spent = sum(json.loads(line)["computed_tokens"] for line in (place / COSTS).read_text().splitlines())
    assert (made.u, made.computed_tokens, tokens[-1]) == (result.u, spent, spent)


def test_a_run_that_is_stopped_is_resumed(plan: SweepPlan, tmp_path: Path) -> None:
    place = tmp_path / "run"
    whole = list(make_run(order(plan, tmp_path / "whole")))
    with pytest.raises(BudgetSpentError):
        followed(whole, Meter(1, 1, lambda _: None))
    begun = make_run(order(plan, place))
    for text in begun:
        if Event.model_validate_json(text).passed:
            break
    begun.close()
    num_kept = (place / JOURNAL).read_text().count('"kind":"pass"')
    assert num_kept >= 1
    rest = [Event.model_validate_json(text) for text in make_run(order(plan, place))]
    assert sum(event.is_resumed for event in rest) == num_kept
    assert (place / JOURNAL).read_bytes() == (tmp_path / "whole" / JOURNAL).read_bytes()


def test_a_machine_that_is_not_fit_says_so(plan: SweepPlan, tmp_path: Path) -> None:
    def refused(text: str) -> IcmError:
        with pytest.raises(IcmError) as caught:
            followed(list(make_run(text)), unlimited())
        return caught.value

    old = order(plan, tmp_path, version="0.0.1")
    assert "and the sweep was started with 0.0.1: install one" in refused(old).message
    (tmp_path / "unseen").mkdir()
    unseen = order(plan, tmp_path / "unseen")
    (tmp_path / "unseen" / STARTED).unlink()
    assert "does not see" in refused(unseen).message
    (tmp_path / "other").mkdir()
    assert "task.yaml" in refused(order(plan, tmp_path, beside=str(tmp_path / "other"))).message
    planted.write_task(tmp_path / "other", 11)
    error = refused(order(plan, tmp_path, beside=str(tmp_path / "other")))
    assert isinstance(error, RequestError)
    assert "the run has other data: " in error.message
    gone = json.loads(order(plan, tmp_path / "gone", wait_s=0))
    gone["spec"]["scorers"]["scorer"]["scorer"] = "http://127.0.0.1:9"
    assert isinstance(refused(json.dumps(gone)), UnavailableError)
    with pytest.raises(IcmError, match="ended before the run did") as lost:
        followed([Event(asked=True).model_dump_json()], unlimited())
    assert not isinstance(lost.value, RequestError)  # so it is tried again


def test_a_machine_with_another_model_is_known_before_the_first_pass(plan: SweepPlan, tmp_path: Path) -> None:
    found = list[ModelIdentity]()

    def refuse(model: ModelIdentity) -> None:
        found.append(model)
        raise OtherModelError("another one")

    begun = make_run(order(plan, tmp_path / "first"))
    first = next(begun)
    begun.close()
    with pytest.raises(OtherModelError):
        followed([first], unlimited(), refuse)
    assert not any('"kind":"pass"' in journal.read_text() for journal in (tmp_path / "first").glob(JOURNAL))
    known = found[0].model_copy(update={"digest": "0" * 64}).model_dump(mode="json")
    with pytest.raises(
        RequestError, match=r"runs here were made by .* \(0{12}, .*: all nodes must have the same model"
    ):
        followed(list(make_run(order(plan, tmp_path / "second", model=known))), unlimited())
    assert not (tmp_path / "second" / JOURNAL).exists()
    same = order(plan, tmp_path / "second", model=found[0].model_dump(mode="json"))
    followed(list(make_run(same)), unlimited())
    assert (tmp_path / "second" / LABELS).exists()


class Elsewhere:
    """A `Place` of several machines that start a scorer for each run; the first one cannot."""

    def __init__(self, plan: SweepPlan):
        self._plan, self._num_made = plan, 0

    def shares(self, kind: ScorerKind) -> bool:
        return False

    async def make(self, run: PlannedRun, job: LabelJob, shown: ShownRun, meter: Meter, model: ModelCheck) -> Made:
        job.folder.release()
        self._num_made += 1
        if self._num_made == 1:
            raise UnavailableError("no model starts here")
        events = await asyncio.to_thread(list, make_run(order_of(self._plan, run, job, model.known)))
        return await asyncio.to_thread(followed, events, meter, model.found)


def test_another_run_is_replaced_by_the_attempt_that_begins(url: str, tmp_path: Path) -> None:
    plan = planned(url, tmp_path).only("*seed-0")
    place = plan.runs[0].job.folder
    place.path.mkdir(parents=True)
    for name in (JOURNAL, LABELS):
        (place / name).write_text("another run\n")
    seen = list[str]()

    async def sleep(seconds: float) -> None:
        seen.extend((place / name).read_text() for name in (JOURNAL, LABELS))

    held, progress = held_runs(plan, overwrite=True), SweepProgress(Terminal(quiet=True), "sweep")
    swept = asyncio.run(run_sweep(plan, held, SweepLimits(num_retries=1), progress, Elsewhere(plan), sleep=sleep))
    assert seen == ["another run\n"] * 2
    assert [outcome.ended for outcome in swept.outcomes.values()] == ["done"]
    assert held_runs(plan)[plan.runs[0].name].is_finished
    assert (place / STARTED).exists()


def test_a_machine_without_a_scorer_stops_only_its_own_run(plan: SweepPlan) -> None:
    limits, progress = SweepLimits(max_parallel=1, num_retries=0), SweepProgress(Terminal(quiet=True), "sweep")
    swept = asyncio.run(run_sweep(plan, held_runs(plan), limits, progress, Elsewhere(plan)))
    assert [(one.ended, one.reason) for one in swept.outcomes.values()] == [
        ("failed", "no model starts here"),
        ("done", ""),
    ]
    assert swept.scorer_seconds > 0
    assert (plan.runs[1].job.folder / LABELS).exists()


def test_a_cluster_that_is_not_there_is_an_error(plan: SweepPlan) -> None:
    if importlib.util.find_spec("ray") is None:
        with pytest.raises(RequestError, match=r"a sweep on a Ray cluster needs its library: pip install '.*\[ray\]'"):
            ray_cluster("auto", plan).__enter__()
        return
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    with pytest.raises(RequestError, match=f"--ray {address}: nothing answers there"):
        ray_cluster(address, plan).__enter__()
    with pytest.raises(RequestError, match="give HOST:PORT"):
        ray_cluster("ray://127.0.0.1:10001", plan).__enter__()
