"""Labels of an extension: right, the same however chunks are cut and processes killed, and true to the rules."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from tests import finished, planted
from tests.conftest import fake_scorer

from icm_annealer.core.arrays import Array
from icm_annealer.data.examples import load_examples
from icm_annealer.data.rows import READ_AS_IT_IS, ReadAs
from icm_annealer.extending.alarms import ALARMS, ExtensionEvidence, extension_alarms, parts
from icm_annealer.extending.chunks import CHUNK_ROWS, SeenGroups, Source, row_json
from icm_annealer.extending.core import Core
from icm_annealer.extending.extend import By, Extension, Progress, by_contexts
from icm_annealer.extending.jobs.job import ExtendJob
from icm_annealer.extending.jobs.modes import extend_settings
from icm_annealer.extending.journal import JOURNAL, LABELS, SKIPPED, UNLIKE, ExtensionJournal
from icm_annealer.extending.row_scorer import TunedScorer
from icm_annealer.extending.settings import ExtendSettings
from icm_annealer.extending.survey import Survey, survey
from icm_annealer.runs.directory import RunDir
from icm_annealer.runs.schema.extension import ExtensionMetrics
from icm_client.contract.errors import RequestError
from icm_client.contract.wire import ModelIdentity

SILENT = Progress(lambda text: None, lambda num: None, lambda num, usage: None)
SETTINGS = ExtendSettings(shots=8, sample=64)
NUM_ROWS = 300


class Made(NamedTuple):
    """Cores and rows that all tests of the file share; they only read them."""

    core: Core
    pairs: Core
    """With groups of two, of which exactly one is hot; the field `given` holds known labels."""
    rows: Path
    folder: Path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("extending")

    async def run() -> None:
        async with fake_scorer() as scorer:
            for name, task in (("core", planted.TASK), ("pairs", f"{finished.PAIRS}known: given\n")):
                task_file = planted.write_task(folder / f"{name}-data", 32, task=task)
                await finished.finished(scorer, folder / name, task_file)

    asyncio.run(run())
    planted.write_rows(folder / "rows.jsonl", planted.rows(NUM_ROWS, 1))
    return Made(Core.read(folder / "core"), Core.read(folder / "pairs"), folder / "rows.jsonl", folder)


def extended(
    core: Core,
    rows: Path,
    folder: Path,
    *,
    settings: ExtendSettings = SETTINGS,
    chunk_rows: int | None = None,
    read_as: ReadAs = READ_AS_IT_IS,
    progress: Progress = SILENT,
) -> ExtensionJournal:
    """Labels the rows in `folder`, from where its journal ends on."""

    async def run() -> ExtensionJournal:
        async with fake_scorer() as scorer:
            by = await by_contexts(scorer, core, settings, "default")
            source = Source(rows, core.task, read_as)
            folder.mkdir(exist_ok=True)
            return await Extension(core, source, by, settings, RunDir(folder), progress, chunk_rows).run()

    return asyncio.run(run())


def labels_in(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / LABELS).read_text().splitlines()]


def test_rows_get_the_labels_of_the_core(made: Made, tmp_path: Path) -> None:
    journal = extended(made.core, made.rows, tmp_path / "out")
    gold = {row["id"]: row["label"] for row in planted.rows(NUM_ROWS, 1)}
    core_gold = {row["id"]: row["label"] for row in planted.rows(32)}
    names = made.core.task.label_names
    in_core = [names[label] == core_gold[e.id] for e, label in zip(made.core.examples, made.core.labels, strict=True)]
    # A model without words may exchange the names of the two labels, in the core and so in all rows.
    is_named = sum(in_core) > 16
    rows = labels_in(tmp_path / "out")
    assert [row["id"] for row in rows] == list(gold)
    assert sum((row["label"] == gold[str(row["id"])]) == is_named for row in rows) >= 0.98 * NUM_ROWS
    assert journal.calibration is not None
    again = sum(chunk.num_read_again for chunk in journal.chunks)
    assert 0.1 * NUM_ROWS < again < 0.4 * NUM_ROWS  # 1.25 reads a row are a quarter; the sample is of 64 rows
    assert sum(row["contexts"] == 2 for row in rows) == again


@pytest.mark.slow
def test_labels_do_not_depend_on_chunks_or_kills(made: Made, tmp_path: Path) -> None:
    whole, cut, killed = (tmp_path / name for name in ("whole", "cut", "killed"))
    extended(made.core, made.rows, whole)
    extended(made.core, made.rows, cut, chunk_rows=31)
    assert (cut / LABELS).read_bytes() == (whole / LABELS).read_bytes()
    assert (cut / UNLIKE).read_bytes() == (whole / UNLIKE).read_bytes()
    # As a killed process leaves them: at any line of the journal, with rows and half a line behind it.
    extended(made.core, made.rows, killed)
    lines = (killed / JOURNAL).read_bytes().splitlines(keepends=True)
    for kept in (0, 1, 2, len(lines) - 1):
        (killed / JOURNAL).write_bytes(b"".join(lines[:kept]) + b'{"kind": "chu')
        for name in (LABELS, UNLIKE):
            (killed / name).write_bytes((killed / name).read_bytes() + b'{"id": ')
        extended(made.core, made.rows, killed)
        for name in (LABELS, UNLIKE, JOURNAL):
            assert (killed / name).read_bytes() == (whole / name).read_bytes()


def test_a_journal_goes_on_only_with_what_it_began_with(made: Made, tmp_path: Path) -> None:
    extended(made.core, made.rows, tmp_path / "out")
    with pytest.raises(RequestError, match="was begun with other settings"):
        extended(made.core, made.rows, tmp_path / "out", settings=ExtendSettings(shots=6, sample=64))
    planted.write_rows(tmp_path / "other.jsonl", planted.rows(NUM_ROWS, 2))
    with pytest.raises(RequestError, match=r"not the rows that .* began with"):
        extended(made.core, tmp_path / "other.jsonl", tmp_path / "out")


@pytest.mark.slow
def test_rules_hold_in_every_group_and_groups_are_not_cut(made: Made, tmp_path: Path) -> None:
    rows = sorted(planted.rows(300, 3), key=lambda row: str(row["pair"]))
    planted.write_rows(tmp_path / "pairs.jsonl", rows)
    journal = extended(made.pairs, tmp_path / "pairs.jsonl", tmp_path / "out", chunk_rows=7)
    assert {chunk.num_rows % 2 for chunk in journal.chunks} == {0}
    hot: dict[object, int] = {}
    for row in labels_in(tmp_path / "out"):
        hot[row["group"]] = hot.get(row["group"], 0) + (row["label"] == "hot")
    assert set(hot.values()) == {1}
    planted.write_rows(tmp_path / "shuffled.jsonl", planted.rows(300, 3))
    with pytest.raises(RequestError, match="do not follow each other: sort the data"):
        extended(made.pairs, tmp_path / "shuffled.jsonl", tmp_path / "shuffled")


def test_known_labels_stand_and_count_under_the_rules(made: Made, tmp_path: Path) -> None:
    rows = sorted(planted.rows(200, 3), key=lambda row: str(row["pair"]))
    for row in rows[::10]:  # each is the wrong one of its pair, or the right one, by turns
        row["given"] = "hot"
    planted.write_rows(tmp_path / "rows.jsonl", rows)
    journal = extended(made.pairs, tmp_path / "rows.jsonl", tmp_path / "out")
    found = labels_in(tmp_path / "out")
    for first, second in zip(found[::2], found[1::2], strict=True):
        assert {first["label"], second["label"]} == {"hot", "cool"}
    known = [row for row in found if row["known"]]
    assert [row["id"] for row in known] == [row["id"] for row in rows[::10]]
    assert all((row["label"], row["certainty"], row["contexts"]) == ("hot", 1.0, 1) for row in known)
    assert sum(chunk.num_known for chunk in journal.chunks) == 20
    assert 0 < sum(chunk.num_known_alike for chunk in journal.chunks) < 20
    rows[0]["given"] = "cool"  # another known label is another row
    planted.write_rows(tmp_path / "other.jsonl", rows)
    with pytest.raises(RequestError, match=r"not the rows that .* began with"):
        extended(made.pairs, tmp_path / "other.jsonl", tmp_path / "out")
    rows[0]["given"] = rows[1]["given"] = "hot"
    planted.write_rows(tmp_path / "other.jsonl", rows)
    with pytest.raises(RequestError, match=r"known labels of .* contradict each other under the task's rules"):
        extended(made.pairs, tmp_path / "other.jsonl", tmp_path / "new")


async def test_a_tuned_model_reads_every_row_once_and_known_labels_stand(made: Made, tmp_path: Path) -> None:
    rows = sorted(planted.rows(200, 3), key=lambda row: str(row["pair"]))
    gold = [row["label"] == "hot" for row in rows]
    for row in rows[::10]:
        row["given"] = "cool" if row["label"] == "hot" else "hot"
    planted.write_rows(tmp_path / "rows.jsonl", rows)
    asked: list[str] = []

    async def logprobs(texts: Sequence[str]) -> Array:
        asked.extend(texts)
        is_hot = np.array([any(f" {word}" in text for word in planted.WARM) for text in texts])
        return np.log(np.where(is_hot[:, None] == [True, False], 0.9, 0.1))

    settings = extend_settings("shots", 0, {"sample": 64}, is_tuned=True)
    model = ModelIdentity(name="tuned", digest="d", dtype="float32", engine="e")
    source = Source(tmp_path / "rows.jsonl", made.pairs.task, READ_AS_IT_IS)
    (tmp_path / "out").mkdir()
    by = By(TunedScorer(logprobs), model)
    journal = await Extension(made.pairs, source, by, settings, RunDir(tmp_path / "out"), SILENT).run()
    assert len(asked) == 200 + 64 + 32  # the rows, the sample and the core
    assert sum(chunk.num_read_again for chunk in journal.chunks) == 0
    found = labels_in(tmp_path / "out")
    for number, (row, is_hot) in enumerate(zip(found, gold, strict=True)):
        is_other = number // 2 % 5 == 0  # of a pair with a known label, which is the wrong one
        assert (row["label"] == "hot") == (is_hot != is_other)
        assert row["known"] == (number % 10 == 0)


def test_bad_and_too_long_rows_are_refused_or_left_out(made: Made, tmp_path: Path) -> None:
    rows = planted.rows(200, 4)
    rows[20] = {"id": "no-words"}
    rows[30]["words"] = "red " * 9000
    rows[40]["words"] = "red " * 100_000  # the scorer does not even count its tokens
    planted.write_rows(tmp_path / "rows.jsonl", rows)
    with pytest.raises(RequestError, match=r"3 of 200 rows cannot be used.*longer than the window"):
        extended(made.core, tmp_path / "rows.jsonl", tmp_path / "out")
    journal = extended(made.core, tmp_path / "rows.jsonl", tmp_path / "out", read_as=ReadAs(skip_bad=True))
    assert (journal.header.num_rows, journal.header.num_skipped) == (197, 3)
    assert [row["id"] for row in labels_in(tmp_path / "out")] == [
        row["id"] for number, row in enumerate(rows) if number not in (20, 30, 40)
    ]
    assert len((tmp_path / "out" / SKIPPED).read_text().splitlines()) == 3


def test_rows_have_the_same_numbers_in_every_reading(made: Made, tmp_path: Path) -> None:
    """Also behind rows that the first reading found too long in an earlier chunk."""
    rows = planted.rows(CHUNK_ROWS + 100, 4)
    too_long = [30, CHUNK_ROWS + 20, CHUNK_ROWS + 21]
    for number in too_long:
        rows[number]["words"] = "red " * 9000
    planted.write_rows(tmp_path / "rows.jsonl", rows)
    source = Source(tmp_path / "rows.jsonl", made.core.task, ReadAs(skip_bad=True))

    async def first_reading() -> Survey:
        async with fake_scorer() as scorer:
            return await survey(source, scorer, 4000, SETTINGS, lambda text: None, num_drawn=100)

    found = asyncio.run(first_reading())
    assert found.too_long == too_long
    assert {rows[row.number]["id"] for row in found.sample} == {row.id for row in found.sample}
    drawn = {row.number for row in [*found.sample, *found.others]}
    assert len(found.sample) == SETTINGS.sample
    assert len(drawn) == 100  # a plan needs rows besides those of the calibration


@pytest.mark.parametrize("rules", [False, True])
def test_a_check_compares_whole_groups_and_needs_no_ids(made: Made, tmp_path: Path, rules: bool) -> None:
    rows = [row | {"id": "same"} for row in sorted(planted.rows(100, 3), key=lambda row: str(row["pair"]))]
    planted.write_rows(tmp_path / "rows.jsonl", rows)
    core = made.pairs if rules else made.core
    out, source = tmp_path / "labels.jsonl", Source(tmp_path / "rows.jsonl", core.task, READ_AS_IT_IS)
    job = ExtendJob(core, source, out, SETTINGS, num_checked=15)
    job.prepare()

    async def run() -> ExtensionMetrics:
        async with fake_scorer() as scorer:
            return await job.run(await by_contexts(scorer, core, SETTINGS, "default"), scorer, SILENT)

    check = asyncio.run(run()).check
    assert check is not None
    assert check.num == (16 if rules else 15)
    assert check.agreement.value > 0.8


@pytest.mark.slow
def test_a_sorted_file_raises_the_alarm_of_drift(made: Made, tmp_path: Path) -> None:
    planted.write_rows(tmp_path / "sorted.jsonl", sorted(planted.rows(2600, 5), key=lambda row: str(row["label"])))
    journal = extended(made.core, tmp_path / "sorted.jsonl", tmp_path / "out")
    assert journal.calibration is not None
    names = made.core.task.label_names
    found = extension_alarms(ExtensionEvidence(names, journal.calibration, journal.chunks, None))
    assert "label-drift" in {alarm.code for alarm in found}
    assert sum(part.num_rows for part in parts(journal.chunks)) == 2600


def test_a_missing_number_of_a_listed_row_is_null() -> None:
    assert json.loads(row_json({"id": "naïve", "score": math.nan}), parse_constant=float) == {
        "id": "naïve",
        "score": None,
    }


def test_a_group_is_seen_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("icm_annealer.extending.chunks.MERGED", 3)
    groups = SeenGroups()
    assert [groups.add(name) for name in "abcdefg"] == [True] * 7
    assert [groups.add(name) for name in "gfedcba"] == [False] * 7


def test_the_table_of_alarms_is_that_of_the_code() -> None:
    page = (Path(__file__).parents[4] / "docs/many_rows.md").read_text()
    _, rest = page.split("| alarm | level | raised if |\n|---|---|---|\n")
    table = rest.split("\n\n")[0].splitlines()
    assert table == [f"| `{kind.code}` | {kind.level} | {kind.help} |" for kind in ALARMS]


def test_listed_rows_are_data_for_a_second_core(made: Made, tmp_path: Path) -> None:
    extended(made.core, made.rows, tmp_path / "out")
    loaded = load_examples(tmp_path / "out" / UNLIKE, made.core.task)
    own = {row["id"]: row["words"] for row in planted.rows(NUM_ROWS, 1)}
    assert loaded.examples
    assert all(own[example.id] == example.fields["words"] for example in loaded.examples)
    assert {example.fields["_why"] for example in loaded.examples} <= {"unlike the core", "unclear"}
