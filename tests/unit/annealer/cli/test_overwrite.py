"""What a command is to overwrite stays where it is until the new result begins."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests import planted
from tests.conftest import fake_scorer
from tests.icm_command import Icm, check_refused

from icm_annealer import LabelResult, anneal
from icm_annealer.runs.directory import JOURNAL, LABELS, RESULTS
from icm_annealer.scoring.passes import Scorer
from icm_client.contract.errors import UnavailableError
from icm_client.contract.wire import ModelInfo, ScoreRequest, ScoreResponse

NOBODY = ("--scorer", "http://127.0.0.1:9", "--wait", 0)
ROWS = [{key: row[key] for key in ("id", "words")} for row in planted.rows(8)]


class Gone:
    """A scorer that goes before it has answered a pass."""

    def __init__(self, scorer: Scorer):
        self._scorer = scorer

    async def score(self, request: ScoreRequest) -> ScoreResponse:
        raise UnavailableError("gone")

    async def count_tokens(self, texts: Sequence[str], *, special_tokens: bool = False) -> list[int]:
        return await self._scorer.count_tokens(texts, special_tokens=special_tokens)

    async def model(self) -> ModelInfo:
        return await self._scorer.model()


@asynccontextmanager
async def both() -> AsyncIterator[tuple[Scorer, Scorer]]:
    """A scorer, and one that goes."""
    async with fake_scorer() as scorer:
        yield scorer, Gone(scorer)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".")}


async def labelled(scorer: Scorer, out: Path, *, seed: int, overwrite: bool = False) -> LabelResult:
    return await anneal(
        [*ROWS, {"id": "bad"}],
        template="Words: {words}\nKind:",
        labels={"hot": " hot", "cool": " cool"},
        skip_bad=True,
        scorer=scorer,
        out=out,
        overwrite=overwrite,
        seed=seed,
        options={"num_chains": 1},
        progress=False,
    )


async def test_a_run_is_replaced_when_the_first_pass_of_the_next_is_answered(tmp_path: Path) -> None:
    run = tmp_path / "run"
    async with both() as (scorer, gone):
        await labelled(scorer, run, seed=0)
        (run / "notes.txt").write_text("mine")
        before = content(run)
        with pytest.raises(UnavailableError):
            await labelled(gone, run, seed=1, overwrite=True)
        assert content(run) == before
        with pytest.raises(UnavailableError):
            await labelled(gone, tmp_path / "new", seed=1, overwrite=True)
        assert not (tmp_path / "new").exists()
        await labelled(scorer, tmp_path / "other/run", seed=1)
        await labelled(scorer, run, seed=1, overwrite=True)
    other, now = content(tmp_path / "other/run"), content(run)
    assert now.keys() == {*other, "notes.txt"}
    assert {name: now[name] for name in (JOURNAL, LABELS)} == {name: other[name] for name in (JOURNAL, LABELS)}


@pytest.mark.parametrize("command", ["run", "demo", "baselines"])
def test_a_scorer_that_is_not_there_costs_nothing_that_is(icm: Icm, tmp_path: Path, command: str) -> None:
    task, out = planted.write_task(tmp_path / "data", 24), tmp_path / "out"
    out.mkdir()
    for name in (JOURNAL, *RESULTS, "baselines.json", "baselines.html"):
        (out / name).write_text("theirs")
    before = content(out)
    options = ("--overwrite",) if command != "demo" else ("--examples", 8, "--test-size", 8)
    check_refused(icm(command, "--task", task, "--out", out, *NOBODY, *options), 1, "127.0.0.1:9")
    assert content(out) == before
