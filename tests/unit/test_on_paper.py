"""The table of a million claims follows from the measured figures as the pages state them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.bench import on_paper
from tests.bench.on_paper import EXTENSION_SHOTS, LONG, SHORT, SHOT_TOKENS, SPEED, table, ways

from icm_annealer.data.task import load_task

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_has_the_table_that_the_program_prints() -> None:
    assert "\n".join(table()) in (DOCS / "many_machines.md").read_text()


def test_the_figures_are_those_that_were_measured() -> None:
    page = (DOCS / "measurements.md").read_text()
    assert f"| a pass by `tree` | {LONG.seconds:.2f} s (" in page
    assert f"| {SHORT.seconds:.2f} s (" in page
    assert f"| computed tokens a second | {LONG.tokens_per_s:,} (" in page
    assert f"| {SHORT.tokens_per_s:,} (" in page
    shots = re.findall(r"^\| `(?:living|kinds)` \| \d+ .* \| ([\d.]+) \| *\|$", page, re.MULTILINE)
    assert shots == [str(EXTENSION_SHOTS)] * 2
    for rate in (on_paper.FRONT_EXTENSION, on_paper.FRONT_NEIGHBOURS, on_paper.FRONT_PASSES):
        assert f"| {rate:,} (" in page
    assert f"{SHOT_TOKENS} tokens in the mean" in load_task("truthfulqa").task.notes


@pytest.mark.parametrize("measured", [LONG, SHORT])
def test_a_measured_pass_takes_on_paper_what_it_took(measured: on_paper.MeasuredPass) -> None:
    tokens = measured.seconds * measured.tokens_per_s
    assert tokens * SPEED.token_s + measured.reads * SPEED.read_s == pytest.approx(measured.seconds)
    assert min(SPEED) > 0


def test_more_gpus_than_a_front_keeps_at_work_gain_nothing() -> None:
    for way in ways():
        assert way.seconds(1) == way.gpu_s
        assert way.seconds(8) == max(way.gpu_s / 8, way.front_s)
        assert way.seconds(64) == way.seconds(8) / 8  # a scorer for every eight
