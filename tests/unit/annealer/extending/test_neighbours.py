"""Texts found by likeness, and rows read behind the core's examples most like them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from tests import finished, planted
from tests.conftest import Serving

from icm_annealer.data.rows import READ_AS_IT_IS
from icm_annealer.extending.chunks import Source
from icm_annealer.extending.core import Core
from icm_annealer.extending.extend import Extension, Progress, by_neighbours
from icm_annealer.extending.neighbours import NUM_NEIGHBOURS, NeighbourScorer
from icm_annealer.extending.settings import ExtendSettings
from icm_annealer.extending.similarity import SimilarTexts
from icm_annealer.runs.directory import RunDir

SETTINGS = ExtendSettings(shots=8, sample=64, mode="neighbours")


def test_the_most_similar_text_comes_first() -> None:
    texts = ["Text: a red fox runs", "Text: the stock fell", "Text: red foxes", "Text: stocks rise"]
    similar = SimilarTexts(texts)
    assert similar.nearest("Text: a fox that is red").tolist()[:2] in ([0, 2], [2, 0])
    assert set(similar.nearest("Text: stocks").tolist()[:2]) == {1, 3}


async def test_unclear_rows_are_read_behind_their_own_neighbours(serving: Serving, tmp_path: Path) -> None:
    rows = planted.rows(120, 1)
    planted.write_rows(tmp_path / "rows.jsonl", rows)
    async with serving() as scorer:
        await finished.finished(scorer, tmp_path / "core", planted.write_task(tmp_path / "data", 48))
        core = Core.read(tmp_path / "core")
        by = await by_neighbours(scorer, core, SETTINGS, "default")
        assert isinstance(by.scorer, NeighbourScorer)
        shown = by.scorer.neighbours(core.examples[5].text)
        assert 5 not in shown
        assert 2 <= len(shown) <= NUM_NEIGHBOURS
        texts = [core.task.render(row) for row in rows[:4]]
        both = await by.scorer.score(texts, [1, 0])
        for number, context in enumerate((1, 0)):
            alone = await by.scorer.score(texts, [context])
            np.testing.assert_allclose(both.logprobs[number], alone.logprobs[0], atol=1e-9)
        silent = Progress(lambda text: None, lambda num: None, lambda num, usage: None)
        folder = RunDir(tmp_path / "out")
        folder.path.mkdir()
        source = Source(tmp_path / "rows.jsonl", core.task, READ_AS_IT_IS)
        journal = await Extension(core, source, by, SETTINGS, folder, silent).run()
    assert journal.calibration is not None
    assert journal.calibration.order[-1] == 1
    assert journal.calibration.num_core_alike >= 0.9 * journal.calibration.num_core > 0
    assert 0 < sum(chunk.num_read_again for chunk in journal.chunks) < 60
