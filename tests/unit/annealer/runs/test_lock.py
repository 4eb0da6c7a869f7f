"""Only one process at a time writes a run's folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from icm_annealer.runs.directory import JOURNAL, LABELS, RunDir
from icm_client import RequestError

WRITER = (
    "import sys, pathlib; from icm_annealer.runs.directory import RunDir;"
    "RunDir(pathlib.Path(sys.argv[1])).prepare(resume=True);"
    "print('writes', flush=True); sys.stdin.read()"
)


def test_a_run_that_another_process_writes_is_neither_begun_nor_resumed_nor_overwritten(tmp_path: Path) -> None:
    for name in (JOURNAL, LABELS):
        (tmp_path / name).write_text("theirs")
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"writes\n"
        for resume, overwrite in ((False, False), (True, False), (False, True), (True, True)):
            with pytest.raises(RequestError, match=r"another .* is writing") as raised:
                RunDir(tmp_path).prepare(resume=resume, overwrite=overwrite)
            assert str(tmp_path) in raised.value.message
        assert [(tmp_path / name).read_text() for name in (JOURNAL, LABELS)] == ["theirs", "theirs"]
        process.kill()
    RunDir(tmp_path).prepare(resume=True)
    RunDir(tmp_path).prepare(overwrite=True)  # the same process, once more
    assert not (tmp_path / LABELS).exists()
    late = subprocess.run([sys.executable, "-c", WRITER, str(tmp_path)], capture_output=True, stdin=subprocess.DEVNULL)
    assert b"is writing" in late.stderr
