"""`sweep` from Python: the runs of the command, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests import planted
from tests.icm_command import Icm

from icm_annealer import RequestError, open_sweep, sweep
from icm_annealer.runs.directory import JOURNAL, LABELS

SETTINGS = {"short": {"search": "blocks", "chains": 2, "passes": 4}, "zero": "zero_shot"}


@pytest.mark.slow
def test_runs_are_those_of_the_command(icm: Icm, url: str, tmp_path: Path) -> None:
    task = planted.write_task(tmp_path, 12)
    what = {"tasks": {"planted": {"task": str(task)}}, "settings": SETTINGS, "seeds": 2}
    out = tmp_path / "python"
    assert [run.ended for run in sweep(what, out=out, only="*/seed-0", scorer=url).runs] == ["done"] * 2
    found = sweep(what, out=out, scorer=url)
    (tmp_path / "sweep.yaml").write_text(f"tasks: {{planted: task.yaml}}\nsettings: {SETTINGS}\nseeds: 2\n")
    assert icm("sweep", tmp_path / "sweep.yaml", "--out", tmp_path / "command", "--scorer", url).code == 0
    for run in found.runs:
        for name in (JOURNAL, LABELS):
            assert (out / run.name / name).read_bytes() == (tmp_path / "command" / run.name / name).read_bytes()
    assert [group.name for group in found.groups] == ["planted.short.scorer", "planted.zero.scorer"]
    assert (len(found.runs), found.failed, open_sweep(out).groups == found.groups) == (4, [], True)
    assert len(found.open_run(found.runs[0].name).labels) == 12
    assert found.report().html == (out / "report.html").read_text()
    assert "SweepResult: 4 runs, 4 done\n  planted.short.scorer: done 2/2, " in repr(found)


def test_what_fails_is_listed_or_refused(tmp_path: Path) -> None:
    task = str(planted.write_task(tmp_path, 12))
    what = {"tasks": [task], "scorers": {"gone": "http://127.0.0.1:9"}}
    with pytest.warns(UserWarning, match=r"1 run not done, such as task.blocks.gone/seed-0, failed: "):
        found = sweep(what, out=tmp_path / "out", retries=0, wait_s=0)
    assert [run.name for run in found.failed] == ["task.blocks.gone/seed-0"]
    assert "task.blocks.gone/seed-0 failed: " in repr(found)
    with pytest.raises(RequestError, match="out= is missing"):
        sweep(what)
    with pytest.raises(RequestError, match=r"the sweep: seed: .*\(and 1 more mistake\)"):
        sweep({**what, "seed": 1, "tasks": ["nothing.yaml"]}, out=tmp_path / "out")
    with pytest.raises(RequestError, match=r"^the sweep: seeds: one is named twice"):
        sweep({**what, "seeds": [1, 1]}, out=tmp_path / "out")
    with pytest.raises(RequestError, match="at least 1 run at a time"):
        sweep(what, out=tmp_path / "out", max_parallel=0)
    with pytest.raises(RequestError, match="is not the folder of a sweep"):
        open_sweep(tmp_path)
