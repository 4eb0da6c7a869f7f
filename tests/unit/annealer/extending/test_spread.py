"""An extension over several scorers: the work of all, the labels of one, and nothing lost when one goes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests import finished, planted
from tests.several import several

from icm_annealer.data.rows import READ_AS_IT_IS
from icm_annealer.extending.chunks import Chunk, Source
from icm_annealer.extending.core import Core
from icm_annealer.extending.extend import Extension, Progress, Searches, by_contexts
from icm_annealer.extending.jobs.batches import by_batches
from icm_annealer.extending.journal import JOURNAL, LABELS
from icm_annealer.extending.rows import LabelledChunk
from icm_annealer.extending.settings import ExtendSettings
from icm_annealer.extending.spread import Spread
from icm_annealer.runs.directory import RunDir
from icm_client import ScorerClient, ScoreRequest
from icm_client.contract.errors import UnavailableError

SILENT = Progress(lambda text: None, lambda num: None, lambda num, usage: None)
SETTINGS = ExtendSettings(shots=8, sample=64)
ROWS = [row | {"words": f"{row['words']} {number}"} for number, row in enumerate(planted.rows(300, 1))]


class Work:
    """Rows to extend to, and a core."""

    def __init__(self, place: Path):
        self.core = Core.read(finished.finished_run(place, 32))
        self.rows = place / "rows.jsonl"
        planted.write_rows(self.rows, ROWS)

    async def extended(self, client: ScorerClient, folder: Path) -> bytes:
        """The labels, chunk by chunk of 30 rows, from where the folder's journal ends on."""
        folder.mkdir(exist_ok=True)
        by = await by_contexts(client, self.core, SETTINGS, "default")
        source = Source(self.rows, self.core.task, READ_AS_IT_IS)
        await Extension(self.core, source, by, SETTINGS, RunDir(folder), SILENT, 30).run()
        return (folder / LABELS).read_bytes()


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Work:
    return Work(tmp_path_factory.mktemp("spread"))


async def test_rows_are_spread_and_their_labels_are_those_of_one(work: Work, tmp_path: Path) -> None:
    async with several("a") as (client, scorers):
        alone = await work.extended(client, tmp_path / "alone")
    async with several("abc") as (client, scorers):
        assert await work.extended(client, tmp_path / "spread") == alone
        least, most = min(scorers.prompts.values()), max(scorers.prompts.values())
        assert len(scorers.prompts) == 3
        assert most < 2 * least
    assert (tmp_path / "spread" / JOURNAL).read_bytes() == (tmp_path / "alone" / JOURNAL).read_bytes()
    # What three began, one can continue.
    lines = (tmp_path / "spread" / JOURNAL).read_bytes().splitlines(keepends=True)
    (tmp_path / "spread" / JOURNAL).write_bytes(b"".join(lines[:5]))
    async with several("c") as (client, scorers):
        assert await work.extended(client, tmp_path / "spread") == alone


async def test_one_that_goes_while_it_answers_loses_nothing(work: Work, tmp_path: Path) -> None:
    async with several("a") as (client, alone):
        expected = await work.extended(client, tmp_path / "alone")
    async with several("abc", gone="b", last=5) as (client, scorers):
        assert await work.extended(client, tmp_path / "spread") == expected
    asked = [host for host, _ in scorers.requests]
    assert asked.count("b") == 5
    assert min(asked.count("a"), asked.count("c")) > 5  # both do its work
    again = scorers.prompts.total() - alone.prompts.total()
    assert 0 < again <= 30  # the rest of the chunk whose answer was cut off


async def test_the_requests_of_one_that_is_gone_are_spread_over_all_others() -> None:
    request = ScoreRequest(segments=["sun"], prompts=[[None, 0]], labels=[" hot", " cool"])
    async with several("abc", gone="b") as (client, scorers):
        spread = Spread(client)
        for _ in range(5):
            await asyncio.gather(*(spread.score(request) for _ in range(6)))
    assert scorers.prompts.keys() == {"a", "c"}
    assert abs(scorers.prompts["a"] - scorers.prompts["c"]) <= 2  # those that were sent before anyone knew


class Lost:
    """A labeller whose first two chunks fail, the second one before the first, while further ones are under way."""

    def __init__(self) -> None:
        self.second_failed, self.num_ended = asyncio.Event(), 0

    async def labelled(self, chunk: Chunk) -> LabelledChunk:
        try:
            if chunk.number == 0:
                await self.second_failed.wait()
            elif chunk.number == 1:
                self.second_failed.set()
            else:
                await asyncio.Event().wait()
            raise UnavailableError(f"chunk {chunk.number}")
        finally:
            await asyncio.sleep(0)
            self.num_ended += 1


async def test_when_chunks_fail_all_have_ended_before_the_error_is_raised(work: Work, tmp_path: Path) -> None:
    lost = Lost()
    async with several("ab") as (client, _):
        by = await by_contexts(client, work.core, SETTINGS, "default")
        by = by._replace(searches=Searches(30, lambda folder: lost))
        source = Source(work.rows, work.core.task, READ_AS_IT_IS)
        with pytest.raises(UnavailableError, match="chunk 0"):
            await Extension(work.core, source, by, SETTINGS, RunDir(tmp_path), SILENT, 30).run()
        assert lost.num_ended == 4


@pytest.mark.slow
async def test_a_batch_is_searched_by_one_scorer(work: Work, tmp_path: Path) -> None:
    settings = ExtendSettings(mode="batches")
    async with several("ab") as (client, scorers):
        by = await by_batches(client, work.core, settings, "default")
        planted.write_rows(tmp_path / "rows.jsonl", ROWS[:60])
        source = Source(tmp_path / "rows.jsonl", work.core.task, READ_AS_IT_IS)
        await Extension(work.core, source, by, settings, RunDir(tmp_path), SILENT, 20).run()
    rows = {f"Words: {row['words']}\nKind:": number // 20 for number, row in enumerate(ROWS)}
    hosts: dict[int, set[str]] = {}
    for host, segments in scorers.requests:
        (batch,) = {rows[text] for text in map(str.strip, segments) if text in rows}
        hosts.setdefault(batch, set()).add(host)
    assert sorted(hosts) == [0, 1, 2]
    assert [len(each) for each in hosts.values()] == [1] * 3
    assert len(set().union(*hosts.values())) == 2
