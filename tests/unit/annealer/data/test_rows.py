"""All formats give the same rows; errors in files are one line with file and row."""

from __future__ import annotations

import csv
import datetime
import decimal
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icm_annealer.data import rows as rows_module
from icm_annealer.data.examples import load_examples
from icm_annealer.data.rows import MAX_LINE_BYTES, read_rows
from icm_annealer.data.task import Task
from icm_client import RequestError

ROWS: list[dict[str, Any]] = [
    {"id": "a", "word": "cod", "label": True, "size": 3, "weight": 2.5},
    {"id": "b", "word": 'a "cup",\nwith, a line', "label": False, "size": 4, "weight": 0.25},
    {"id": "c", "word": "größer 東京", "label": None, "size": 5, "weight": 1.0},
]
TASK = Task.model_validate(
    {
        "name": "words",
        "template": "Word: {word}\nGroup:",
        "labels": {"living": " living", "object": " object"},
        "gold": "label",
        "gold_values": {"true": "living", "1": "living", "false": "object", "0": "object"},
        "group": "size",
    }
)


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    if path.suffix in (".csv", ".tsv"):
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)
    elif path.suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows), encoding="utf-8")
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        import datasets  # here, since it takes seconds

        datasets.Dataset.from_list(rows).save_to_disk(str(path))
    return path


def values(path: Path | str) -> list[Any]:
    return [row.value for row in read_rows(path)]


@pytest.mark.parametrize("name", ["rows.csv", "rows.tsv", "rows.parquet", "rows.json", "rows.jsonl", "folder"])
def test_every_format_gives_the_same_examples(tmp_path: Path, name: str) -> None:
    loaded = load_examples(write(tmp_path / name, ROWS), TASK)
    assert [example.text for example in loaded.examples] == [f"Word: {row['word']}\nGroup:" for row in ROWS]
    assert [(example.id, example.group) for example in loaded.examples] == [("a", "3"), ("b", "4"), ("c", "5")]
    assert loaded.gold == {"a": "living", "b": "object"}


@pytest.mark.parametrize("name", ["rows.parquet", "rows.jsonl", "folder"])
def test_values_keep_their_types(tmp_path: Path, name: str) -> None:
    assert values(write(tmp_path / name, ROWS)) == ROWS


@pytest.mark.parametrize("name", ["rows.csv", "rows.tsv"])
def test_cells_are_text_and_empty_ones_are_nothing(tmp_path: Path, name: str) -> None:
    assert values(write(tmp_path / name, ROWS))[2] == {
        "id": "c", "word": "größer 東京", "label": None, "size": "5", "weight": "1.0",
    }  # fmt: skip


CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(CELL, CELL), min_size=1))
def test_csv_is_read_as_it_is_written(tmp_path_factory: pytest.TempPathFactory, cells: list[tuple[str, str]]) -> None:
    path = tmp_path_factory.mktemp("csv") / "rows.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([["a", "b"], *cells])
    assert values(path) == [{"a": first or None, "b": second or None} for first, second in cells]


def test_a_csv_with_a_byte_order_mark_and_windows_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b'\xef\xbb\xbfword , label\r\ncod,1\r\n\r\n"a\r\ncup",0\r\n')
    assert values(path) == [{"word": "cod", "label": "1"}, {"word": "a\r\ncup", "label": "0"}]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("a,b\n1,2\n3\n", "line 3: 1 cells, where the header has 2"),
        ("a,b\n1,2,3\n", "line 2: 3 cells, where the header has 2"),
        ('a,b\n"1\n1",2\n3,4,5\n', "line 4: 3 cells"),
        ("a,b,a\n1,2,3\n", "line 1: the header names the column 'a' twice"),
        ('a,b\n"1,",2\n"3,4\n5,6\n', "line 3: broken CSV"),
        ('a,b\n"1"x,2\n"3,",4\n', "line 2: broken CSV"),
        (b"a,b\n1,\xff\n", "line 2: not UTF-8 (byte 2)"),
        ("a,b\n1," + "x" * MAX_LINE_BYTES, f"line 2: longer than {MAX_LINE_BYTES} bytes"),
        ('a,b\n1,"' + ("x" * 1_000_000 + "\n") * 5, "line 2: broken CSV"),
    ],
)
def test_a_broken_csv_is_reported_with_its_line(tmp_path: Path, content: str | bytes, says: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(RequestError) as raised:
        values(path)
    assert raised.value.message.startswith(f"{path}, {says}")
    assert "\n" not in raised.value.message


@pytest.mark.parametrize("content", ["", "\n\n", "word,label\n"])
def test_a_csv_without_rows_is_reported(tmp_path: Path, content: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(content)
    with pytest.raises(RequestError, match=r"rows.csv: no rows"):
        load_examples(path, TASK)


@pytest.mark.parametrize("name", ["rows.csv", "rows.parquet"])
def test_a_missing_column_names_those_there_are(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, [{"text": "cod", "size": 1}])
    with pytest.raises(RequestError, match=r"(line 2|row 1): the field 'word' is missing .*there are: text, size"):
        load_examples(path, TASK)


@pytest.mark.parametrize("label", ["True", "TRUE", "true", "1"])
def test_truth_values_of_text_files(tmp_path: Path, label: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(f"word,label,size\ncod,{label},1\n")
    assert load_examples(path, TASK).gold == {"0": "living"}


def test_numbers_with_gaps_come_as_floats(tmp_path: Path) -> None:
    table = pyarrow.table({"word": ["cod", "cup", "hat"], "label": [1.0, float("nan"), 0.0], "size": [1, 1, 2]})
    pyarrow.parquet.write_table(table, tmp_path / "rows.parquet")
    assert load_examples(tmp_path / "rows.parquet", TASK).gold == {"0": "living", "2": "object"}


def test_parquet_values_that_json_has_no_kind_for(tmp_path: Path) -> None:
    row = {"day": datetime.date(2026, 1, 31), "price": decimal.Decimal("1.50"), "picture": b"\x89PNG", "tags": ["a"]}
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([row]), tmp_path / "rows.parquet")
    assert values(tmp_path / "rows.parquet") == [{"day": "2026-01-31", "price": "1.50", "picture": None, "tags": ["a"]}]


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1 but not really PAR1", b'{"word": "cod"}\n'])
def test_a_broken_parquet_file_is_reported(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "rows.parquet"
    path.write_bytes(content)
    with pytest.raises(RequestError) as raised:
        values(path)
    assert raised.value.message.startswith(f"{path}: ")
    assert "\n" not in raised.value.message


def test_parquet_files_larger_than_a_batch(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.parquet", [{"word": str(number)} for number in range(2500)])
    assert [value["word"] for value in values(path)] == [str(number) for number in range(2500)]


@pytest.mark.parametrize("name", ["rows.csv", "rows.tsv", "rows.parquet", "rows.json", "folder"])
def test_a_missing_file_is_reported(tmp_path: Path, name: str) -> None:
    with pytest.raises(RequestError, match=f"{name}: No such file"):
        values(tmp_path / name)


@pytest.mark.parametrize(
    ("package", "name"),
    [("pyarrow.parquet", "rows.parquet"), ("datasets", "folder"), ("datasets", "hf:nobody/nothing")],
)
def test_a_missing_library_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str, name: str
) -> None:
    source = name if name.startswith("hf:") else write(tmp_path / name, ROWS)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        RequestError, match=r"needs the package (pyarrow|datasets): pip install 'icm-elicitation\[data\]'"
    ):
        values(source)


def test_a_saved_dataset_with_splits(tmp_path: Path) -> None:
    import datasets

    splits = {name: datasets.Dataset.from_list(ROWS[:size]) for name, size in (("train", 2), ("test", 1))}
    datasets.DatasetDict(splits).save_to_disk(str(tmp_path / "both"))
    datasets.DatasetDict(train=splits["train"]).save_to_disk(str(tmp_path / "one"))
    assert values(tmp_path / "one") == ROWS[:2]
    assert values(tmp_path / "both" / "test") == ROWS[:1]
    with pytest.raises(RequestError, match=r"holds the splits train, test; name one, as .*both/train"):
        values(tmp_path / "both")


@pytest.fixture
def owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the library takes for a hub's owner: `load_dataset` reads owner/name from disk if it is there."""
    import datasets

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "owner"


def test_datasets_by_name(owner: Path) -> None:
    for split, size in (("train", 3), ("test", 1)):
        (owner / "two").mkdir(parents=True, exist_ok=True)
        write(owner / "two" / f"{split}.jsonl", [{"word": f"{split} {k}"} for k in range(size)])
    assert [row.where for row in read_rows("hf:owner/two:test")] == ["hf:owner/two:test, row 1"]
    assert values("hf:owner/two:default:train")[2] == {"word": "train 2"}
    assert len(values("hf:owner/two::train")) == 3
    with pytest.raises(RequestError, match=r"holds the splits train, test; name one, as hf:owner/two::train"):
        values("hf:owner/two")


def test_a_word_alone_may_name_a_config(owner: Path) -> None:
    folder = owner / "configs"
    for config in ("easy", "hard"):
        (folder / config).mkdir(parents=True)
        write(folder / config / "rows.jsonl", [{"word": config}])
    (folder / "README.md").write_text(
        "---\nconfigs:\n- config_name: easy\n  data_files: easy/*\n- config_name: hard\n  data_files: hard/*\n---\n"
    )
    assert values("hf:owner/configs:hard") == [{"word": "hard"}]
    assert values("hf:owner/configs:easy:train") == [{"word": "easy"}]
    with pytest.raises(RequestError, match=r"hf:owner/configs: .*[Cc]onfig.*easy.*hard"):
        values("hf:owner/configs")


@pytest.mark.parametrize("source", ["hf:", "hf:a/b:c:d:e", "hf:owner/none:x"])
def test_a_dataset_that_is_none_is_reported(owner: Path, source: str) -> None:
    (owner / "none").mkdir(parents=True)
    with pytest.raises(RequestError) as raised:
        values(source)
    assert raised.value.message.startswith(f"{source}: ")
    assert "\n" not in raised.value.message


@pytest.mark.slow
def test_a_hub_out_of_reach_is_reported(tmp_path: Path) -> None:
    task = tmp_path / "task.yaml"
    task.write_text("name: x\ntemplate: '{a}:'\nlabels: {b: ' b', c: ' c'}\ndata: hf:nobody/nothing\n")
    command = [sys.executable, "-m", "icm_annealer.cli.app", "task", "check", str(task)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1].startswith("error: hf:nobody/nothing: ")
    assert "Traceback" not in ended.stderr


def test_a_list_too_large_to_read_whole_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_module, "MAX_LIST_BYTES", 100)
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([{"word": "x" * 100}]))
    with pytest.raises(RequestError, match="more than 100 bytes; write one object a line"):
        values(path)


@pytest.mark.parametrize("lead", [b"\xef\xbb\xbf", b"\n  ", b"\xef\xbb\xbf\r\n"])
def test_a_list_behind_white_space_or_a_mark(tmp_path: Path, lead: bytes) -> None:
    path = tmp_path / "rows.json"
    path.write_bytes(lead + json.dumps(ROWS).encode())
    assert values(path) == ROWS


def test_a_rules_key_has_one_kind_of_value(tmp_path: Path) -> None:
    task = TASK.model_dump() | {"rules": [{"kind": "same_key", "key": "answer"}]}
    path = write(tmp_path / "rows.jsonl", [{"word": "x", "size": 1, "answer": answer} for answer in (600, "600")])
    with pytest.raises(RequestError, match=r"line 2: 'answer', which a rule compares, is text here and a number"):
        load_examples(path, Task.model_validate(task))
