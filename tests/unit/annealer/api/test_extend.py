"""`extend` from Python: the labels of the command, rows in memory, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests import finished, planted
from tests.icm_command import Icm

from icm_annealer import IcmError, RequestError, extend, open_extension


def test_rows_get_the_labels_that_the_command_gives(icm: Icm, url: str, tmp_path: Path) -> None:
    core, data = finished.finished_run(tmp_path, 32), tmp_path / "rows.jsonl"
    rows = planted.rows(100, 1)
    planted.write_rows(data, rows)
    ended = icm("extend", core, "--data", data, "--out", tmp_path / "command.jsonl", "--scorer", url, "--shots", 8)
    assert ended.code == 0, ended
    out = tmp_path / "python.jsonl"
    found = extend(core, rows, out=out, scorer=url, shots=8)
    assert out.read_bytes() == (tmp_path / "command.jsonl").read_bytes()
    assert found.labels == open_extension(out).labels == [row["label"] for row in found.rows()]
    assert found.probs.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert (len(found.certainty), sum(found.label_rates.values())) == (100, pytest.approx(1))
    assert "ExtensionResult: 100 labels" in repr(found)
    with pytest.raises(RequestError, match="is there already"):
        extend(core, rows, out=out, scorer=url)
    with pytest.raises(IcmError, match=r"127\.0\.0\.1:9"):
        extend(core, data, out=out, scorer="http://127.0.0.1:9", wait_s=0, overwrite=True)
    assert open_extension(out).labels == found.labels
    assert extend(core, data, out=out, scorer=url, shots=8, overwrite=True).labels == found.labels
    with pytest.raises(RequestError, match="is no file of a finished extension"):
        open_extension(data)
