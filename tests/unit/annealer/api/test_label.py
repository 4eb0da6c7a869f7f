"""`label` and `anneal` as a script, a thread and a notebook call them, against a scorer with the fake engine."""

from __future__ import annotations

import asyncio
import inspect
import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import planted
from tests.icm_command import Icm

import icm_annealer
from icm_annealer import IcmError, LabelResult, RequestError, Task, anneal, label, load_task, open_run
from icm_annealer.runs.directory import JOURNAL, LABELS, SKIPPED
from icm_client import ScorerClient, SyncScorerClient

TEMPLATE, NAMES = "Words: {words}\nKind:", {"hot": " hot", "cool": " cool"}
QUICK = {"template": TEMPLATE, "labels": NAMES, "options": {"num_chains": 1}}
ROWS = [{key: row[key] for key in ("id", "words")} for row in planted.rows(16)]

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def test_labels_are_found_in_the_rows_order(url: str, tmp_path: Path) -> None:
    result = label(ROWS, scorer=url, out=tmp_path / "run", **QUICK)
    gold = [row["label"] for row in planted.rows(16)]
    right = sum(map(str.__eq__, result.labels, gold))
    assert right in (0, 16)  # the fake engine distinguishes two kinds, not their names
    assert result.ids == [row["id"] for row in ROWS]
    assert result.margins.shape == (16,)
    assert result.probs.shape == (16, 2)
    assert result.probs.sum(axis=1) == pytest.approx(1)
    assert [result.label_names[k] for k in result.probs.argmax(axis=1)] == result.labels
    assert result.certainty == pytest.approx(result.probs.max(axis=1))
    assert result.certainty == pytest.approx(1 / (1 + np.exp(-result.margins)), abs=1e-5)
    assert result.context_probs.shape == (16, 2)
    assert result.context_probs.sum(axis=1) == pytest.approx(1)
    assert result.u > 0
    assert result.verdict == open_run(tmp_path / "run").verdict
    assert f"verdict: {result.verdict.words} (see .verdict)" in repr(result)
    assert result.u_unit == "nats per example"
    # If the search found the opposite labels, too, they are as coherent: the engine prefers no label word.
    assert {alarm.code for alarm in result.alarms} <= {"too-close-to-call"}
    assert "16 labels" in repr(result)


def test_the_command_line_finds_and_writes_the_same(icm: Icm, url: str, tmp_path: Path) -> None:
    task = planted.write_task(tmp_path / "data", 16)
    result = label(task=task, scorer=url, out=tmp_path / "python" / "run", seed=3, measure="logprob")
    out = tmp_path / "command" / "run"
    ended = icm("run", "--task", task, "--scorer", url, "--out", out, "--seed", 3, "--measure", "logprob")
    assert ended.code == 0, ended
    for name in (JOURNAL, LABELS, "examples.jsonl"):
        assert (out / name).read_bytes() == (result.folder / name).read_bytes()
    assert open_run(out).labels == result.labels


def frame(rows: list[dict[str, Any]]) -> Any:
    pandas = pytest.importorskip("pandas")
    return pandas.DataFrame(rows, index=[f"index-{k}" for k in range(len(rows))])


def dataset(rows: list[dict[str, Any]]) -> Any:
    return pytest.importorskip("datasets").Dataset.from_list(rows)


def texts(rows: list[dict[str, Any]]) -> list[str]:
    return [row["words"] for row in rows]


@pytest.fixture(scope="module")
def labels(url: str) -> list[str]:
    """Those of ROWS."""
    return label(ROWS, scorer=url, **QUICK).labels


@pytest.mark.parametrize("made", [iter, tuple, frame, dataset, texts])
def test_rows_may_come_in_any_form(url: str, labels: list[str], made: Any) -> None:
    assert label(made(ROWS), scorer=url, **QUICK).labels == labels


def test_values_of_a_frame_are_what_json_holds(url: str) -> None:
    pandas = pytest.importorskip("pandas")
    numpy = pytest.importorskip("numpy")
    rows = [
        {"words": row["words"], "n": numpy.int64(k), "at": pandas.Timestamp(2026, 1, 1), "none": pandas.NaT}
        for k, row in enumerate(ROWS)
    ]
    result = label(rows, scorer=url, **QUICK)
    kept = json.loads((result.folder / "examples.jsonl").read_text().splitlines()[1])
    assert {"n": 1, "at": "2026-01-01T00:00:00", "none": None}.items() <= kept["fields"].items()


def test_a_result_becomes_tables(url: str) -> None:
    pytest.importorskip("pandas")
    pytest.importorskip("datasets")
    result = label(frame(ROWS), scorer=url, **QUICK)
    table = result.to_pandas()
    assert list(table.index[:2]) == ["index-0", "index-1"]
    assert list(table["label"]) == result.labels
    assert list(table["probs.hot"]) == pytest.approx(list(result.probs[:, 0]))
    assert list(table["context_probs.hot"]) == pytest.approx(list(result.context_probs[:, 0]))
    assert list(table["certainty"]) == list(result.certainty)
    columns = result.to_dataset()
    assert columns.features["label"].int2str(columns["label"][:]) == result.labels


def test_a_report_is_shown_in_a_frame_and_saved(url: str, tmp_path: Path) -> None:
    report = label(ROWS, scorer=url, **QUICK).report()
    shown = report._repr_html_()
    assert shown.startswith("<iframe srcdoc=")
    assert "&lt;!doctype html&gt;" in shown
    assert report.save(tmp_path / "made" / "page.html").read_text() == report.html


def test_a_file_is_read_as_it_is_said_to_be(url: str, tmp_path: Path) -> None:
    table, quick = tmp_path / "rows.csv", {**QUICK, "search": "zero_shot", "options": None, "scorer": url}
    table.write_text("".join(f"{row['words']} caf\u00e9,{row['id']}\n" for row in ROWS) + "one,two,three\n", "cp1252")
    with pytest.raises(RequestError, match="line 17: 3 cells, where 2 columns are named"):
        label(table, columns=["words", "id"], encoding="cp1252", **quick)
    found = label(table, columns=["words", "id"], encoding="cp1252", skip_bad=True, out=tmp_path / "run", **quick)
    assert found.ids == [row["id"] for row in ROWS]
    assert "café" in found.to_pandas()["text"][0]
    assert "three" in (tmp_path / "run" / SKIPPED).read_text()
    assert len(label([*ROWS, {"nothing": 1}], skip_bad=True, **quick).labels) == len(ROWS)
    with pytest.raises(RequestError, match="columns= and encoding= are for a file"):
        label(ROWS, encoding="cp1252", **quick)


def test_names_alone_are_labels(url: str) -> None:
    result = label(ROWS, scorer=url, **{**QUICK, "labels": ["hot", "cool"]})
    assert result.labels == label(ROWS, scorer=url, **QUICK).labels


def test_a_task_may_be_one(url: str, tmp_path: Path) -> None:
    file = planted.write_task(tmp_path / "data", 16)
    task = load_task(str(file)).task
    assert isinstance(task, Task)
    result = label(tmp_path / "data/data.jsonl", task=task, scorer=url, search="zero_shot")
    assert result.labels == label(task=str(file), scorer=url, search="zero_shot").labels
    assert "Of the labels found, " in result.report().html  # gold labels are used there alone


async def test_a_caller_with_a_running_loop_is_served(url: str) -> None:
    """As a notebook's cells are."""
    blocking = label(ROWS, scorer=url, **QUICK)
    assert blocking.labels == (await anneal(ROWS, scorer=url, **QUICK)).labels


def test_threads_label_side_by_side(url: str) -> None:
    found: list[LabelResult] = []
    threads = [
        threading.Thread(target=lambda seed=seed: found.append(label(ROWS, scorer=url, seed=seed, **QUICK)))
        for seed in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(result.labels) for result in found] == [16, 16]
    assert found[0].folder != found[1].folder


async def test_clients_are_scorers(url: str, scorer: ScorerClient, labels: list[str]) -> None:
    assert (await anneal(ROWS, scorer=url, **QUICK)).labels == labels
    assert (await anneal(ROWS, scorer=scorer, **QUICK)).labels == labels
    with SyncScorerClient(url) as blocking:
        assert (await anneal(ROWS, scorer=blocking, **QUICK)).labels == labels
        assert label(ROWS, scorer=blocking, **QUICK).labels == labels
    client = ScorerClient(url)
    assert label(ROWS, scorer=client, **QUICK).labels == labels


def test_a_temporary_folder_goes_with_its_result(url: str) -> None:
    result = label(ROWS, scorer=url, **QUICK)
    folder = result.folder
    assert (folder / LABELS).exists()
    del result
    assert not folder.exists()


def test_a_warning_is_one(url: str) -> None:
    words = [{"words": word} for word in ("one", "two", "three", "four")]
    with pytest.warns(UserWarning, match="U is") as recorded:
        result = label(words, scorer=url, **QUICK)
    warned = [warning for warning in recorded if warning.category is UserWarning]
    assert warned[0].filename == __file__
    assert [alarm.line for alarm in result.alarms if alarm.level == "warning"] == [str(w.message) for w in warned]
    assert "(see .alarms)" in repr(result)


@pytest.mark.parametrize(
    ("rows", "options", "says"),
    [
        (ROWS, {"template": None}, "template= and labels= are needed"),
        (ROWS, {"task": "living"}, "give either task="),
        (ROWS, {"template": "Words:"}, "names no field"),
        (ROWS, {"labels": "hot"}, "labels='hot': a list of names"),
        (ROWS, {"labels": ["hot"]}, "labels: "),
        (ROWS, {"labels": {"hot": " x", "cool": " x"}}, "needs a text of its own"),
        (ROWS, {"serch": "blocks"}, "'serch' is neither a parameter nor a setting"),
        (ROWS, {"search": "nothing"}, "no search 'nothing'"),
        (ROWS, {"plan": "nothing"}, "plan"),
        (ROWS, {"seed": -1}, "seed: "),
        (ROWS, {"resume": True}, "needs out="),
        (ROWS, {"scorer": 3}, "scorer= is int"),
        (ROWS, {"scorer": "gpu-box:8000"}, "is not the name of a scorer"),
        (ROWS, {"experiment": "a b\n"}, "experiment"),
        (None, {}, "rows are missing"),
        ([], {}, "rows: there are none"),
        (3, {}, "rows are int"),
        ({"words": ["a"]}, {}, "rows are dict"),
        ([{"words": "a"}, {"word": "b"}], {}, "row 2: the field 'words' is missing"),
        ([{"words": "a"}, 3], {}, "row 2: a row must be"),
        ("nowhere.jsonl", {}, "nowhere.jsonl"),
    ],
)
def test_what_is_wrong_is_one_line(rows: Any, options: dict[str, Any], says: str, tmp_path: Path) -> None:
    out = {} if "resume" in options else {"out": tmp_path / "run"}
    with pytest.raises(RequestError) as refused:
        label(rows, **{"scorer": "http://127.0.0.1:9", **QUICK, **out, **options})
    assert says in refused.value.message
    assert "\n" not in refused.value.message
    assert not (tmp_path / "run").exists()


def test_a_scorer_that_is_away_leaves_no_run(tmp_path: Path) -> None:
    with pytest.raises(IcmError, match="no scorer was ready"):
        label(ROWS, scorer="http://127.0.0.1:9", wait_s=0, out=tmp_path / "run", **QUICK)
    assert not (tmp_path / "run").exists()


def test_a_run_that_ended_is_resumed_to_itself_and_not_replaced(url: str, tmp_path: Path) -> None:
    first = label(ROWS, scorer=url, out=tmp_path / "run", **QUICK)
    with pytest.raises(RequestError, match="already holds a run"):
        label(ROWS, scorer=url, out=tmp_path / "run", **QUICK)
    again = label(ROWS, scorer=url, out=tmp_path / "run", resume=True, **QUICK)
    assert (again.had_ended, again.labels) == (True, first.labels)
    with pytest.raises(RequestError, match="begun with other settings"):
        label(ROWS, scorer=url, out=tmp_path / "run", resume=True, seed=1, **QUICK)
    assert not label(ROWS, scorer=url, out=tmp_path / "run", overwrite=True, **QUICK).had_ended


async def test_a_folder_is_written_once_at_a_time(url: str, tmp_path: Path) -> None:
    first = asyncio.create_task(anneal(ROWS, scorer=url, out=tmp_path / "run", **QUICK))
    while not (tmp_path / "run" / JOURNAL).exists():  # noqa: ASYNC110  (another task makes it)
        await asyncio.sleep(0.001)
    with pytest.raises(RequestError, match="is writing there"):
        await anneal(ROWS, scorer=url, out=tmp_path / "run", resume=True, **QUICK)
    assert len((await first).labels) == 16


def test_both_take_the_same_parameters() -> None:
    assert inspect.signature(label).parameters == inspect.signature(anneal).parameters


def test_public_names_are_there() -> None:
    assert icm_annealer.__all__ == sorted(icm_annealer.__all__)
    assert all(inspect.getdoc(getattr(icm_annealer, name)) for name in icm_annealer.__all__)
    with pytest.raises(AttributeError, match="lable"):
        icm_annealer.lable  # noqa: B018
