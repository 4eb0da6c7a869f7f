"""Every format as its reader reads it: the real library where it is installed, its documented form everywhere."""

from __future__ import annotations

import csv
import json
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from icm_annealer.data.examples import Example
from icm_annealer.data.rows import read_rows
from icm_annealer.data.task import Task
from icm_annealer.export.base import ExportJob, Written
from icm_annealer.export.cells import FORMULA, guarded
from icm_annealer.export.labelled import Labelled, abstaining, most_certain
from icm_annealer.export.reading import reading
from icm_annealer.export.registry import BUILT_IN, find_format
from icm_annealer.export.review import labeling_config
from icm_annealer.runs.schema.rows import LabelRow
from icm_client import RequestError

TASK = Task(
    name="kinds", template="Say: {words}\nKind:", labels={"hot": " hot", 'c"ld': [" cold", " icy"], "so & so": " so"}
)
WORDS = ["red\nsun", 'a "quoted", comma', "größer 東京", "=1+1", " spaces  ", "\u2028 line"]


def labelled(texts: Sequence[str], task: Task = TASK, seed: int = 0) -> list[Labelled]:
    """Examples with random probabilities; the most probable label is found, as a search would."""
    rng = np.random.default_rng(seed)
    made = []
    for number, text in enumerate(texts):
        probs = np.round(rng.dirichlet(np.ones(len(task.labels))), 6)
        order = np.sort(probs)
        row = LabelRow(
            id=f"row {number}",
            label=task.label_names[int(probs.argmax())],
            probs=dict(zip(task.label_names, probs.tolist(), strict=True)),
            margin=round(float(np.log(order[-1] / max(order[-2], 1e-6))), 6),
            context_probs=dict(zip(task.label_names, probs[::-1].tolist(), strict=True)),
            label_mass=0.9,
            group=None if number % 2 else f"group {number}",
            run="first",
            known=number == 1,
        )
        facts = {"words": text}
        made.append(Labelled(Example(row.id, task.render(facts), row.group, facts), row))
    return made


ROWS = labelled(WORDS)


def write(name: str, path: Path, rows: Sequence[Labelled] = ROWS, task: Task = TASK) -> Written:
    job = ExportJob(
        task, rows, "icm-tiny", path.suffix, lambda: reading(task, [one.example for one in rows], None, None, None)
    )
    return find_format(name).write(path, job)


def expected(one: Labelled) -> dict[str, Any]:
    """A row of the tables."""
    return {
        "id": one.row.id,
        "text": one.example.text,
        "label": one.row.label,
        "certainty": 1.0 if one.row.known else one.row.probs[one.row.label],
        "known": one.row.known,
        "probs": one.row.probs,
        "margin": one.row.margin,
        "context_probs": one.row.context_probs,
        "label_mass": one.row.label_mass,
        "group": one.row.group,
        "run": one.row.run,
        "words": one.example.fields["words"],
    }


def test_jsonl(tmp_path: Path) -> None:
    assert write("jsonl", tmp_path / "out.jsonl").num_rows == len(ROWS)
    read = [row.value for row in read_rows(tmp_path / "out.jsonl")]
    assert read == [expected(one) for one in ROWS]
    assert list(read[0]) == list(expected(ROWS[0]))


def test_csv(tmp_path: Path) -> None:
    write("csv", tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row, one in zip(rows, ROWS, strict=True):
        assert (row["id"], row["text"], row["label"]) == (one.row.id, one.example.text, one.row.label)
        assert row["group"] == (one.row.group or "")
        assert {name: float(row[f"probs.{name}"]) for name in TASK.labels} == one.row.probs
        assert {name: float(row[f"context_probs.{name}"]) for name in TASK.labels} == one.row.context_probs
        assert (float(row["certainty"]), row["known"]) == (one.row.certainty, str(one.row.known))
        assert float(row["margin"]) == one.row.margin


def test_tables_keep_the_columns_of_the_data(tmp_path: Path) -> None:
    """Beside a column of the same name, the data's has a prefix; values of several kinds, or nested ones, are text."""
    fields: list[dict[str, Any]] = [
        {"id": "row 0", "text": "red", "size": 3, "odd": [1], "is_new": True, "day of week": "Monday", "run": None},
        {"id": "row 1", "text": "sun", "size": 2.5, "odd": "x", "is_new": False, "probs.hot": 2**70},
    ]
    rows = [
        one._replace(example=Example(one.row.id, one.example.text, None, own))
        for one, own in zip(labelled(["red", "sun"]), fields, strict=True)
    ]
    expected = [
        ("red", 3.0, "[1]", True, "Monday", None, None),
        ("sun", 2.5, "x", False, None, None, str(2**70)),
    ]
    names = ["data.text", "size", "odd", "is_new", "day of week", "data.run", "data.probs.hot"]
    parquet, datasets = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("datasets")
    for name in ("jsonl", "parquet", "hf"):
        path = tmp_path / name
        write(name, path, rows)
        found: Any = {
            "jsonl": lambda path: [json.loads(line) for line in path.open(encoding="utf-8")],
            "parquet": lambda path: parquet.read_table(path).to_pylist(),
            "hf": lambda path: datasets.load_from_disk(str(path)).to_list(),
        }[name](path)
        assert [tuple(row[column] for column in names) for row in found] == expected
        assert "data.id" not in found[0]
    write("csv", tmp_path / "out.csv", rows)
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        cells = list(csv.DictReader(file))
    assert [tuple(row[column] for column in names) for row in cells] == [
        tuple("" if value is None else str(value) for value in row) for row in expected
    ]


def test_reviewers_see_the_columns_of_the_data(tmp_path: Path) -> None:
    fields: list[dict[str, Any]] = [{"id": "row 0", "text": "red", "size": 3}, {"id": "row 1", "text": "sun"}]
    rows = [
        one._replace(example=Example(one.row.id, "Word: ...", None, own))
        for one, own in zip(labelled(["red", "sun"]), fields, strict=True)
    ]
    write("cleanlab", tmp_path / "out.csv", rows)
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        found = [(row["id"], row["text"], row["size"]) for row in csv.DictReader(file)]
    assert found == [("row 0", "red", "3"), ("row 1", "sun", "")]
    write("label-studio", tmp_path / "out.json", rows)
    tasks = {task["data"]["id"]: task["data"] for task in json.loads((tmp_path / "out.json").read_text())}
    assert tasks["row 0"] == {"id": "row 0", "text": "Word: ...", "data.text": "red", "size": 3}


def test_csv_is_read_by_pandas(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    write("csv", tmp_path / "out.csv")
    frame = pandas.read_csv(tmp_path / "out.csv")
    assert frame["text"].tolist() == [one.example.text for one in ROWS]
    assert frame["probs.hot"].tolist() == [one.row.probs["hot"] for one in ROWS]


FORMULAS = ["=1+1", "+1+1", "-1+cmd", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1+1", "'=1", "''@x", "-"]
PLAIN = ["", "'quoted'", "a=b", " =1", "-0.5", "+7", "1e5", "'"]
BARE = Task(name="bare", template="{words}", labels={"=hot": " hot", "cold": " cold"})


@pytest.mark.parametrize("name", ["csv", "cleanlab"])
def test_no_cell_is_a_formula(tmp_path: Path, name: str) -> None:
    rows = [
        Labelled(one.example.__class__(text, text, text, {}), one.row.model_copy(update={"id": text, "group": text}))
        for one, text in zip(labelled(["x"] * 19, BARE), [*FORMULAS, *PLAIN], strict=True)
    ]
    write(name, tmp_path / "out.csv", rows, BARE)
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        header, *found = list(csv.reader(file))
    assert [row[0] for row in found] == [*(f"'{text}" for text in FORMULAS), *PLAIN]
    assert ("'=hot" in header) == (name == "cleanlab")  # else it stands behind "probs."
    if name == "csv":
        assert {row[1] for row in found} == {row[0] for row in found}
        assert {row[2] for row in found} == {"'=hot", "cold"}
        margins = [float(row[header.index("margin")]) for row in found]
        assert margins == [one.row.margin for one in rows]
    job = ExportJob(BARE, rows, "icm-tiny", ".csv", lambda: reading(BARE, [], None, None, None), raw=True)
    find_format(name).write(tmp_path / "raw.csv", job)
    with (tmp_path / "raw.csv").open(encoding="utf-8", newline="") as file:
        assert [row[0] for row in list(csv.reader(file))[1:]] == [*FORMULAS, *PLAIN]


@given(st.text() | st.text("'=+-@\t\r\n1x"))
def test_a_guarded_cell_can_be_read_back(text: str) -> None:
    cell = guarded(text)
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) or cell.strip("+-0123456789.") == ""
    assert (cell[1:] if cell.startswith("'") and FORMULA.match(cell) else cell) == text


def test_parquet(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    write("parquet", tmp_path / "out.parquet")
    assert parquet.read_table(tmp_path / "out.parquet").to_pylist() == [expected(one) for one in ROWS]


def test_parquet_without_any_group(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    write("parquet", tmp_path / "out.parquet", ROWS[1:2])
    table = parquet.read_table(tmp_path / "out.parquet")
    assert str(table.schema.field("group").type) == "string"
    assert table.column("group").to_pylist() == [None]


def test_saved_dataset(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    write("hf", tmp_path / "out")
    loaded = datasets.load_from_disk(str(tmp_path / "out"))
    label = loaded.features["label"]
    assert label.names == TASK.label_names
    assert [{**row, "label": label.int2str(row["label"])} for row in loaded] == [expected(one) for one in ROWS]


def test_sft(tmp_path: Path) -> None:
    """TRL's prompt-completion: the prompt as the model saw it, the label's text with its leading space."""
    write("sft", tmp_path / "out.jsonl")
    texts = {"hot": " hot", 'c"ld': " cold", "so & so": " so"}
    read = [row.value for row in read_rows(tmp_path / "out.jsonl")]
    assert read == [{"prompt": one.example.text, "completion": texts[one.row.label]} for one in ROWS]


@pytest.mark.parametrize("name", ["sft", "jsonl"])
def test_lines_are_loaded_by_datasets(tmp_path: Path, name: str) -> None:
    datasets = pytest.importorskip("datasets")
    write(name, tmp_path / "out.jsonl")
    loaded = datasets.load_dataset("json", data_files=str(tmp_path / "out.jsonl"), cache_dir=str(tmp_path / "cache"))
    assert loaded["train"].num_rows == len(ROWS)
    assert loaded["train"][2] == next(row.value for n, row in enumerate(read_rows(tmp_path / "out.jsonl")) if n == 2)


def test_cleanlab_arrays(tmp_path: Path) -> None:
    """`labels` are numbers from 0 up, `pred_probs` [N, K] sum to 1; nothing is pickled."""
    write("cleanlab", tmp_path / "out.npz")
    arrays = np.load(tmp_path / "out.npz", allow_pickle=False)
    assert set(arrays) == {"labels", "pred_probs", "ids", "label_names"}
    assert arrays["labels"].dtype == np.int64
    assert arrays["pred_probs"].shape == (len(ROWS), 3)
    assert np.allclose(arrays["pred_probs"].sum(axis=1), 1, atol=1e-12)
    assert arrays["label_names"].tolist() == TASK.label_names
    assert arrays["ids"].tolist() == [one.row.id for one in ROWS]
    for number, one in enumerate(ROWS):
        assert TASK.label_names[arrays["labels"][number]] == one.row.label
        assert arrays["pred_probs"][number] == pytest.approx(list(one.row.probs.values()), abs=2e-6)


def test_cleanlab_csv_holds_the_same(tmp_path: Path) -> None:
    write("cleanlab", tmp_path / "out.npz")
    write("cleanlab", tmp_path / "out.csv")
    arrays = np.load(tmp_path / "out.npz", allow_pickle=False)
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = list(csv.reader(file))
    assert header == ["id", "label", *TASK.label_names, "words"]
    assert [int(row[1]) for row in rows] == arrays["labels"].tolist()
    assert [[float(p) for p in row[2:-1]] for row in rows] == arrays["pred_probs"].tolist()


def test_cleanlab_says_what_its_users_need_to_know(tmp_path: Path) -> None:
    only = [one for one in ROWS if one.row.label == ROWS[0].row.label]
    (note,) = write("cleanlab", tmp_path / "out.npz", only).notes
    assert note.startswith("no example has the label ")
    long = [Labelled(ROWS[0].example.__class__("x" * 600, "t", None, {}), ROWS[0].row)]
    with pytest.raises(RequestError, match=r"\.csv"):
        write("cleanlab", tmp_path / "long.npz", long)
    write("cleanlab", tmp_path / "long.csv", long)


def test_cleanlab_finds_a_label_that_contradicts_its_probabilities(tmp_path: Path) -> None:
    cleanlab_filter = pytest.importorskip("cleanlab.filter")
    task = Task(name="two", template="{words}", labels={"a": " a", "b": " b"})
    rows = [
        Labelled(
            Example(str(k), "t", None, {}),
            LabelRow(
                id=str(k),
                label="a" if k % 2 or k == 4 else "b",
                probs={"a": 0.95, "b": 0.05} if k % 2 else {"a": 0.05, "b": 0.95},
                margin=1.0,
                context_probs={"a": 0.5, "b": 0.5},
                label_mass=1.0,
                group=None,
                run="r",
            ),
        )
        for k in range(20)
    ]
    write("cleanlab", tmp_path / "out.npz", rows, task)
    arrays = np.load(tmp_path / "out.npz", allow_pickle=False)
    assert np.flatnonzero(cleanlab_filter.find_label_issues(arrays["labels"], arrays["pred_probs"])).tolist() == [4]


def check_label_studio_task(task: dict[str, Any], names: Sequence[str]) -> None:
    """The form that https://labelstud.io/guide/predictions and its page on choices give."""
    assert set(task) == {"data", "predictions"}
    assert isinstance(task["data"]["text"], str)
    (prediction,) = task["predictions"]
    assert set(prediction) == {"model_version", "score", "result"}
    assert 0 <= prediction["score"] <= 1
    (result,) = prediction["result"]
    assert (result["from_name"], result["to_name"], result["type"]) == ("label", "text", "choices")
    (choice,) = result["value"]["choices"]
    assert choice in names


def test_label_studio(tmp_path: Path) -> None:
    written = write("label-studio", tmp_path / "out.json")
    tasks = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert len(tasks) == len(ROWS)
    for task in tasks:
        check_label_studio_task(task, TASK.label_names)
    scores = [task["predictions"][0]["score"] for task in tasks]
    assert scores == sorted(scores)
    by_id = {one.row.id: one for one in ROWS}
    assert all(task["data"]["text"] == by_id[task["data"]["id"]].example.text for task in tasks)
    assert labeling_config(TASK) in written.notes[0]


def test_the_labeling_interface_names_what_the_tasks_name() -> None:
    view = ET.fromstring(labeling_config(TASK))
    text, choices = view.find("Text"), view.find("Choices")
    assert text is not None
    assert choices is not None
    assert (text.get("name"), text.get("value")) == ("text", "$text")
    assert (choices.get("name"), choices.get("toName"), choices.get("choice")) == ("label", "text", "single")
    assert [choice.get("value") for choice in choices] == TASK.label_names


def test_label_studio_takes_them(tmp_path: Path) -> None:
    interface = pytest.importorskip("label_studio_sdk.label_interface")
    write("label-studio", tmp_path / "out.json")
    view = interface.LabelInterface(labeling_config(TASK))
    for task in json.loads((tmp_path / "out.json").read_text(encoding="utf-8")):
        assert view.validate_prediction(task["predictions"][0])


ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("\r\n\u2028\0\",'"), min_size=1)


@given(st.lists(ANY_TEXT, min_size=1, max_size=5))
def test_any_text_survives_every_table(tmp_path_factory: pytest.TempPathFactory, texts: list[str]) -> None:
    folder = tmp_path_factory.mktemp("texts")
    rows = labelled(texts)
    write("jsonl", folder / "out.jsonl", rows)
    assert [row.value["text"] for row in read_rows(folder / "out.jsonl")] == [one.example.text for one in rows]
    write("csv", folder / "out.csv", rows)
    with (folder / "out.csv").open(encoding="utf-8", newline="") as file:
        assert [row["text"] for row in csv.DictReader(file)] == [one.example.text for one in rows]


def of_certainty(value: float, margin: float = 0.0, *, is_corrected: bool = False) -> Labelled:
    probs = {"hot": value, 'c"ld': 1 - value, "so & so": 0.0}
    found = 'c"ld' if is_corrected else "hot"
    known = {"label": "hot", "probs": probs, "margin": margin, "found": found}
    return Labelled(ROWS[0].example, ROWS[0].row.model_copy(update=known))


SHARES = st.lists(st.floats(0, 1), min_size=1, max_size=12)


@given(SHARES, st.integers(1, 15))
def test_the_most_certain_are_kept_in_order(values: list[float], top: int) -> None:
    kept = [one.row.certainty for one in most_certain([of_certainty(value) for value in values], top)]
    assert sorted(kept) == sorted(sorted(values, reverse=True)[:top])
    places = iter(values)
    assert all(any(value == one for value in places) for one in kept)  # a subsequence


def test_margins_rank_what_is_certain_to_the_last_digit() -> None:
    rows = [of_certainty(1.0, margin) for margin in (15.0, 17.0, 16.0)]
    assert [one.row.margin for one in most_certain(rows, 2)] == [17.0, 16.0]


@given(SHARES, st.floats(0, 1))
def test_labels_below_a_certainty_abstain(values: list[float], below: float) -> None:
    rows = [of_certainty(value) for value in values]
    if max(values) < below:
        with pytest.raises(RequestError, match="leaves no label: the highest certainty is"):
            abstaining(rows, below)
        return
    assert [one.label is None for one in abstaining(rows, below)] == [value < below for value in values]


def test_a_corrected_label_never_abstains() -> None:
    found, corrected = abstaining([of_certainty(0.1), of_certainty(0.1, is_corrected=True)], 0.9)
    assert (found.label, corrected.label) == (None, "hot")


ABSTAINING = [ROWS[0]._replace(abstains=True), *ROWS[1:]]


def test_every_format_that_holds_unlabelled_rows_writes_none_of_their_labels(tmp_path: Path) -> None:
    holding = {name for name, form in BUILT_IN.items() if form.holds_unlabelled}
    assert holding == {"jsonl", "csv", "parquet", "hf", "label-studio"}
    write("jsonl", tmp_path / "out.jsonl", ABSTAINING)
    assert [row.value["label"] for row in read_rows(tmp_path / "out.jsonl")] == [None, *(o.label for o in ROWS[1:])]
    write("csv", tmp_path / "out.csv", ABSTAINING)
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        assert [row["label"] for row in csv.DictReader(file)] == ["", *(o.label for o in ROWS[1:])]
    write("label-studio", tmp_path / "out.json", ABSTAINING)
    tasks = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert [task["data"]["id"] for task in tasks if "predictions" not in task] == [ROWS[0].row.id]


def test_libraries_read_rows_without_a_label(tmp_path: Path) -> None:
    """Parquet has a null, a dataset the number that its ClassLabel documents for a missing label."""
    parquet, datasets = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("datasets")
    write("parquet", tmp_path / "out.parquet", ABSTAINING)
    found = parquet.read_table(tmp_path / "out.parquet").column("label").to_pylist()
    assert found == [None, *(one.label for one in ROWS[1:])]
    write("hf", tmp_path / "out", ABSTAINING)
    assert datasets.load_from_disk(str(tmp_path / "out"))["label"][0] == -1
