"""Formats and trackers are registered: toys are listed, found and run, of this package or of another one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests import planted
from tests.icm_command import Icm, check_refused

from icm_annealer.core.library import Library
from icm_annealer.export import registry
from icm_annealer.export.base import ExportFormat, ExportJob, Written
from icm_annealer.export.registry import find_format, formats_help
from icm_annealer.tracking.registry import find_tracker
from icm_client import RequestError

TOYS = """\
from pathlib import Path
from icm_annealer.core.library import Library
from icm_annealer.export.base import ExportFormat, Written
from icm_annealer.tracking.base import TrackerKind

def write(path, job):
    path.write_text("".join(f"{row.label}\\n" for _, row, _ in job.labelled))
    return Written(len(job.labelled), ["a toy"])

class Diary:
    def __init__(self, place): self._path = Path(place)
    def note(self, *what): self._path.open("a").write(" ".join(map(str, what)) + "\\n")
    def begin(self, name, params): self.note("begin", name); return "key"
    def resume(self, key): self.note("resume", key)
    def log(self, step, metrics): self.note("step", step)
    def end(self, state, facts): self.note("end", state)

FORMAT = ExportFormat("labels-only", "a label a line", "labels.txt", write)
DIARY = TrackerKind("diary", "FILE", Diary, Library("toys", None))
"""
ENTRY_POINTS = """\
[icm.exporters]
labels-only = toys:FORMAT
broken = toys:write
absent = toys:nothing
csv = toys:FORMAT
[icm.trackers]
diary = toys:DIARY
mlflow = toys:DIARY
"""


def _write(path: Path, job: ExportJob) -> Written:
    path.write_text(str(len(job.labelled)))
    return Written(len(job.labelled), [])


def made(folder: Path, url: str) -> list[object]:
    """The command that makes a run."""
    return ["run", "--task", planted.write_task(folder / "data", 8), "--scorer", url, "--out", folder / "run"]


def test_a_registered_format_is_listed_and_written(
    icm: Icm, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry.BUILT_IN, "count", ExportFormat("count", "how many", "count.txt", _write))
    assert "count (how many)" in formats_help()
    assert icm(*made(tmp_path, url)).code == 0
    assert icm("export", tmp_path / "run", "--format", "count").code == 0
    assert (tmp_path / "run" / "count.txt").read_text() == "8"
    check_refused(icm("export", tmp_path / "run", "--format", "counts"), 2, "'counts'", "jsonl", "label-studio, count")


def test_a_format_whose_library_is_missing_is_refused_before_anything_is_read(
    icm: Icm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = ExportFormat("far", "needs much", "far.bin", _write, library=Library("no_such_module", "data"))
    monkeypatch.setitem(registry.BUILT_IN, "far", form)
    check_refused(icm("export", tmp_path / "no-run", "--format", "far"), 2, "--format far needs", "[data]'")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with an installed package that registers a format and a tracker."""
    place = tmp_path / "site"
    (place / "toys-1.0.dist-info").mkdir(parents=True)
    (place / "toys-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: toys\nVersion: 1.0\n")
    (place / "toys-1.0.dist-info" / "entry_points.txt").write_text(ENTRY_POINTS)
    (place / "toys.py").write_text(TOYS)
    return place


def ended(site: Path, *command: object) -> subprocess.CompletedProcess[str]:
    """`icm` in a process that has the package."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])}
    environment |= {"COLUMNS": "200", "TERM": "dumb"}
    program = [sys.executable, "-m", "icm_annealer.cli.app", *map(str, command)]
    return subprocess.run(program, capture_output=True, text=True, check=False, env=environment)


@pytest.mark.slow
def test_a_package_brings_a_format_and_a_tracker(tmp_path: Path, url: str, site: Path) -> None:
    diary, run = tmp_path / "diary.txt", tmp_path / "run"
    found = ended(site, *made(tmp_path, url), "--track", f"diary:{diary}")
    assert found.returncode == 0, found.stderr
    assert diary.read_text().startswith("begin run\n")
    assert diary.read_text().splitlines()[-1].startswith("end ")
    found = ended(site, "export", run, "--format", "labels-only")
    assert found.returncode == 0, found.stderr
    assert set((run / "labels.txt").read_text().split()) <= {"hot", "cool"}
    assert "a toy" in found.stderr
    assert "diary[:PLACE]" in ended(site, "run", "--help").stdout
    found = ended(site, "export", run, "--format", "broken")
    assert found.returncode == 2
    assert "has the type function instead of ExportFormat" in found.stderr
    assert found.stderr.count("\n") == 1


def test_what_is_not_named_is_not_imported(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(site))
    assert formats_help().endswith(", absent, broken, labels-only")
    assert find_format("jsonl").file_name == "export.jsonl"
    with pytest.raises(RequestError, match="toys registers the tracker 'mlflow', which is built in: uninstall toys"):
        find_tracker("mlflow")
    assert "toys" not in sys.modules
    for name, says in (
        ("absent", "cannot be imported"),
        ("csv", "toys registers the export format 'csv', which is built in: uninstall toys"),
    ):
        with pytest.raises(RequestError, match=says) as raised:
            find_format(name)
        assert "\n" not in raised.value.message
