"""A search is one file and one registration: here, or in another installed package."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError
from tests import planted
from tests.icm_command import Icm, check_refused

from icm_annealer.benchmarks.search_presets import PRESETS, REFERENCE, find_compared
from icm_annealer.benchmarks.searches.plan import bench_names
from icm_annealer.core.objective import calibrated
from icm_annealer.labelling.search_run import run_search
from icm_annealer.search.base import Problem, Search, weigh_alone, zero_shot_request
from icm_annealer.search.kind import ExpectedPasses, SearchKind
from icm_annealer.searches import registry
from icm_annealer.searches.registry import BUILT_IN, find_search, search_names
from icm_annealer.searches.settings import Settings, options_for
from icm_client import RequestError, ScorerClient

TOY = """\
from dataclasses import dataclass

import numpy as np

from icm_annealer.search.base import weigh_alone, zero_shot_request
from icm_annealer.search.kind import SearchKind


@dataclass(frozen=True)
class ToySettings:
    label: int = 0


def toy(problem, settings, seed):
    (zero_shot,) = yield [zero_shot_request(problem)]
    labels = problem.best(np.eye(problem.num_labels)[[settings.label] * problem.num_examples])
    return (yield from weigh_alone(problem, "toy", labels, zero_shot, 1, np.random.default_rng(seed)))


SEARCH = SearchKind("toy", "one label for everything", ToySettings, toy)
"""


def install(folder: Path, entry_points: str, modules: dict[str, str]) -> None:
    """What pip leaves of a package that registers these entry points."""
    for name, source in modules.items():
        (folder / f"{name}.py").write_text(source)
    info = folder / "toys-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toys\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[icm.searches]\n{entry_points}\n")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Path]:
    """A folder of installed packages, on this process's path until the test ends."""
    folder = tmp_path / "site"
    folder.mkdir()
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))
    for name in ("toy_search", "broken_search"):
        sys.modules.pop(name, None)


def icm_with(site: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own that finds the packages in `site`."""
    path = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "COLUMNS": "200", "TERM": "dumb"}
    command = [sys.executable, "-m", "icm_annealer.cli.app", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.mark.slow
def test_a_search_of_another_package_takes_part_everywhere(tmp_path: Path, site: Path, url: str) -> None:
    install(site, "toy = toy_search:SEARCH\nbroken = broken_search:SEARCH", {"toy_search": TOY, "broken_search": "1/0"})
    task = planted.write_task(tmp_path / "data", 40)
    ran = icm_with(site, "run", "--search", "toy", "--task", task, "--scorer", url, "--out", tmp_path / "run")
    assert ran.returncode == 0, ran.stderr
    rows = [json.loads(line) for line in (tmp_path / "run/labels.jsonl").read_text().splitlines()]
    assert {row["label"] for row in rows} == {"hot"}
    journal = json.loads((tmp_path / "run/journal.jsonl").read_text().splitlines()[0])
    assert journal["settings"]["search"] == "toy"
    assert journal["settings"]["options"] == {"label": 0}
    resumed = ("run", "--search", "toy", "--task", task, "--scorer", url, "--out", tmp_path / "run", "--resume")
    assert icm_with(site, *resumed).returncode == 0
    out = ("--out", tmp_path / "bench.json", "--sizes", 12, "--test-size", 12)
    names = ("--methods", "zero_shot,toy")
    benched = icm_with(site, "search-bench", "--task", task, "--scorer", url, *out, *names)
    assert benched.returncode == 0, benched.stderr
    found = json.loads((tmp_path / "bench.json").read_text())["searches"]
    assert [row["search"] for row in found] == ["zero_shot", "toy"]
    assert "toy" in (tmp_path / "bench.html").read_text()


@pytest.mark.slow
def test_help_and_errors_list_what_is_installed_and_import_nothing(tmp_path: Path, site: Path, url: str) -> None:
    install(site, "toy = toy_search:SEARCH\nbroken = broken_search:SEARCH", {"toy_search": TOY, "broken_search": "1/0"})
    shown = icm_with(site, "run", "--help")
    assert shown.returncode == 0, shown.stderr
    assert "toy" in shown.stdout
    assert "broken" in shown.stdout
    assert all(kind.name in shown.stdout for kind in BUILT_IN.values())
    task, run = planted.write_task(tmp_path / "data", 8), tmp_path / "run"
    for search, says in (
        ("bloks", "no search 'bloks': choose one of blocks, official, zero_shot, growing, joint, gibbs, bootstrap, "),
        ("broken", "the installed search 'broken' (broken_search:SEARCH) cannot be imported: ZeroDivisionError"),
    ):
        ended = icm_with(site, "run", "--search", search, "--task", task, "--scorer", url, "--out", run)
        assert ended.returncode == 2
        assert says in ended.stderr
        assert "Traceback" not in ended.stderr
        assert not run.exists()
    ended = icm_with(site, "search-bench", "--methods", "blokcs")
    assert ended.returncode == 2
    assert "broken, toy" in ended.stderr


@pytest.mark.parametrize(
    ("entry_points", "name", "says"),
    [
        (
            "blocks = toy_search:SEARCH",
            "blocks",
            "toys registers the search 'blocks', which is built in: uninstall toys",
        ),
        ("other = toy_search:SEARCH", "other", "is called 'toy' by itself"),
        ("toy = toy_search:toy", "toy", "has the type function instead of SearchKind"),
        ("toy = toy_search:NOTHING", "toy", "cannot be imported: AttributeError"),
    ],
)
def test_a_wrong_registration_is_an_error(site: Path, entry_points: str, name: str, says: str) -> None:
    install(site, entry_points, {"toy_search": TOY})
    with pytest.raises(RequestError, match=says):
        find_search(name)


def test_two_packages_with_one_name_are_an_error(site: Path) -> None:
    install(site, "toy = toy_search:SEARCH", {"toy_search": TOY})
    (site / "toys-1.0.dist-info").rename(site / "first-1.0.dist-info")
    install(site, "toy = toy_search:OTHER", {})
    # Each distribution has a name of its own, else the second hides the first.
    metadata = site / "first-1.0.dist-info" / "METADATA"
    metadata.write_text(metadata.read_text().replace("Name: toys", "Name: first"))
    with pytest.raises(RequestError, match="several installed packages register the search 'toy'") as raised:
        find_search("toy")
    assert "(toy_search:OTHER of toys, toy_search:SEARCH of first): uninstall all but one" in raised.value.message


@dataclass(frozen=True)
class ToySettings:
    """Options of a search that this test defines."""

    num_rounds: int = 2


def toy(problem: Problem, settings: ToySettings, seed: int) -> Search:
    """Calibrated zero-shot labels, asked for several times."""
    for _ in range(settings.num_rounds):
        (zero_shot,) = yield [zero_shot_request(problem)]
    labels = problem.best(calibrated(zero_shot.logprobs))
    return (yield from weigh_alone(problem, "toy", labels, zero_shot, 0, np.random.default_rng(seed)))


async def test_a_search_is_a_function_and_an_entry(
    tmp_path: Path, scorer: ScorerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = SearchKind(
        "toy",
        "asks the same twice",
        ToySettings,
        toy,
        plan="tree",
        measure="logprob",
        expected_passes=lambda settings, num: ExpectedPasses(settings.num_rounds),
        with_passes=lambda settings, num: ToySettings(num),
        passes_help="rounds",
    )
    monkeypatch.setattr(registry, "BUILT_IN", {**BUILT_IN, "toy": kind})
    assert "toy: asks the same twice" in registry.searches_help()
    assert "rounds (toy)" in registry.passes_help()
    settings = Settings(search="toy", options=options_for("toy", passes=5))
    assert str(settings.plan_kind()) == "tree"
    assert settings.objective().measure == "logprob"
    loaded_task, loaded = planted.load(planted.write_task(tmp_path, 8))
    run = await run_search(loaded.examples, loaded_task.task, scorer, settings)
    assert run.num_passes == 5
    assert settings.expected_passes(8) == ExpectedPasses(5)
    with pytest.raises(RequestError, match="the search toy has no chains to set"):
        options_for("toy", chains=2)


def test_the_registry_is_whole() -> None:
    assert search_names()[: len(BUILT_IN)] == list(BUILT_IN)
    assert REFERENCE.settings(3) == Settings(seed=3)
    presets = [preset.name for kind in BUILT_IN.values() for preset in registry.presets_of(kind)]
    assert len(set(presets)) == len(presets)
    assert set(presets) <= set(bench_names())
    for name, kind in BUILT_IN.items():
        assert kind.name == name
        assert Settings(search=name).options == kind.options()
        expected = kind.expected_passes(kind.options(), 64)
        assert expected is not None
        assert expected.num > 0
        assert kind.expected_shots(kind.options(), 64) >= 64
        assert bool(kind.with_passes) == bool(kind.passes_help)
    assert all(find_compared(name) is search for name, search in PRESETS.items())


@pytest.mark.parametrize(
    "fields",
    [
        {"options": {"num_chans": 3}},
        {"options": {"num_chains": "three"}},
        {"search": "joint", "options": BUILT_IN["blocks"].options()},
        {"search": 3},
        {"blocks": {}},
    ],
)
def test_wrong_options_are_an_error(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate(fields)


def test_settings_are_read_back_as_they_were_written() -> None:
    for search in PRESETS.values():
        settings = search.settings(7)
        read = Settings.model_validate(json.loads(json.dumps(settings.to_dict())))
        assert read.to_dict() == settings.to_dict()
        assert (read.plan_kind(), read.objective()) == (settings.plan_kind(), settings.objective())


def test_an_option_that_a_search_lacks_is_refused(icm: Icm, tmp_path: Path, url: str) -> None:
    task = planted.write_task(tmp_path / "data", 8)
    run = ("run", "--task", task, "--scorer", url, "--out", tmp_path / "run")
    check_refused(icm(*run, "--search", "growing", "--chains", 2), 2, "the search growing has no chains to set")
    check_refused(icm(*run, "--search", "official", "--passes", 2), 2, "the search official has no passes to set")
    assert not (tmp_path / "run").exists()
