"""The page of an extension, and what it says of a core that is not worth extending."""

from __future__ import annotations

from typing import Any

import pytest
from tests import planted

from icm_annealer.core.estimate import Estimate
from icm_annealer.data.task import Task
from icm_annealer.extending.alarms import ExtensionEvidence, extension_alarms
from icm_annealer.extending.jobs.page import render_page
from icm_annealer.runs.schema.extension import (
    CalibrationLine,
    ChunkLine,
    ExtensionHeader,
    ExtensionMetrics,
    SharedLabels,
)
from icm_annealer.runs.schema.verdict import Verdict, VerdictName
from icm_client.text.strict_yaml import read_yaml

SURE = Estimate(0.9, 0.8, 0.95)
CALIBRATION = CalibrationLine.model_construct(num_core=10, num_core_alike=9, num_sampled=0, num_sampled_alike=0)

CHUNK = ChunkLine.model_construct(
    num_rows=1,
    counts=[1, 0],
    num_unlike=0,
    num_known=0,
    num_known_alike=0,
    margins=0.5,
    log_masses=-0.1,
    log_masses_squared=0.01,
)


def page(shots: list[list[str]], **figures: Any) -> str:
    """Its text, of one row of a core whose verdict is `weak`."""
    header = ExtensionHeader.model_construct(task=Task.model_validate(read_yaml(planted.TASK)), shots=shots)
    made: dict[str, Any] = {
        "core": "run",
        "core_verdict": "weak",
        "task": "planted",
        "by": "fake",
        "num_contexts": len(shots),
    }
    made |= {"num_rows": 1, "num_skipped": 0, "label_rates": {"hot": 1.0, "cool": 0.0}, "core_agreement": SURE}
    made |= {"sample_agreement": 1.0, "num_known": 0, "known_agreement": None, "num_read_again": 0, "num_unlike": 0}
    made |= {"num_unclear": 0, "prompt_tokens": 9, "computed_tokens": 9, "cached_tokens": 0, "num_reads": 1}
    metrics = ExtensionMetrics.model_validate(made | {"seconds": 4.0, "check": None, "alarms": []} | figures)
    return " ".join(render_page(metrics, header, CALIBRATION, [CHUNK]).split())


def test_it_shows_what_was_measured_and_nothing_else() -> None:
    text = page([["a", "b"], ["c", "d"]])
    assert "1 row labelled by fake behind 2 contexts of 2 shots from the core" in text
    assert "The verdict on the core: weakly coherent." in text
    assert "9, 9.0 a row" in text
    assert "4 s, 0.2 rows a second" in text
    assert "(sample of" not in text
    text = page([["a"], ["b", "c"]], num_skipped=2)
    assert "2 contexts of 1 to 2 shots" in text
    assert "1, 2 skipped" in text


@pytest.mark.parametrize("num", [1, 2])
def test_one_search_agrees_with_no_other(num: int) -> None:
    shared = SharedLabels(num=16, num_searches=num, with_each_other=1.0, with_core=0.75)
    text = page([], shared=shared)
    assert ("1 independent search." in text) == (num == 1)
    assert ("in two searches" in text) == (num == 2)
    assert "unlike" not in text  # was not looked for


@pytest.mark.parametrize("name", ["nothing", "weak", "found"])
def test_an_incoherent_core_is_told(name: VerdictName) -> None:
    seen = ExtensionEvidence(["hot", "cool"], CALIBRATION, [CHUNK], None, Verdict(name, "U is 0.00."))
    codes = [alarm.code for alarm in extension_alarms(seen)]
    assert ("core-incoherent" in codes) == (name == "nothing")
