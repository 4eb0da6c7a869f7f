"""`label(track=...)`: a run of Python code shown in a tracker, here of an installed package."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest
from tests import planted

from icm_annealer import RequestError, label
from icm_annealer.runs.record import RunRecord

DIARY = """\
from pathlib import Path
from icm_annealer.core.library import Library
from icm_annealer.tracking.base import TrackerKind

class Diary:
    def __init__(self, place): self._path = Path(place)
    def note(self, what): self._path.open("a").write(f"{what}\\n")
    def begin(self, name, params): self.note("begin"); return "key"
    def resume(self, key): self.note("resume")
    def log(self, step, metrics): self.note("step")
    def end(self, state, facts): self.note(f"end {state}")

DIARY = TrackerKind("diary", "FILE", Diary, Library("diary_tracker", None))
"""
ROWS = [{"words": row["words"]} for row in planted.rows(40)]
OPTIONS: dict[str, Any] = {"template": "Words: {words}\nKind:", "labels": ["hot", "cool"], "search": "zero_shot"}


def test_a_run_is_shown_in_a_tracker(tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "site" / "diary_tracker-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: diary-tracker\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[icm.trackers]\ndiary = diary_tracker:DIARY\n")
    (info.parent / "diary_tracker.py").write_text(DIARY)
    monkeypatch.syspath_prepend(str(info.parent))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
    result = label(ROWS, scorer=url, out=tmp_path / "run", track=f"diary:{tmp_path / 'diary'}", **OPTIONS)
    assert len(result.labels) == len(ROWS)
    first, *steps, last = (tmp_path / "diary").read_text().splitlines()
    assert (first, set(steps), last) == ("begin", {"step"}, f"end {RunRecord.read(result.folder).state}")


def test_an_unknown_tracker_is_an_error_before_anything_is_started(tmp_path: Path, url: str) -> None:
    with pytest.raises(RequestError, match=r"no tracker 'wandb': choose mlflow\[:URI\] or trackio\[:PROJECT\]"):
        label(ROWS, scorer=url, out=tmp_path / "run", track="wandb:x", **OPTIONS)
    assert not (tmp_path / "run").exists()
