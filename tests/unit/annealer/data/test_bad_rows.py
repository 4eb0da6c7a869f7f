"""All rows that cannot be used are reported together, with what to do about them; values stand for labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from icm_annealer.data.bad_rows import MAX_KINDS, MAX_SHOWN, BadRows, BadRowsError
from icm_annealer.data.examples import Loaded, examples_of, load_examples
from icm_annealer.data.rows import ReadAs
from icm_annealer.data.task import Task, load_task
from icm_annealer.sources.row import Fault, Row
from icm_client import RequestError

SKIP = ReadAs(skip_bad=True)


def make_task(**changes: Any) -> Task:
    labels = {"spam": " spam", "fine": " fine"}
    return Task.model_validate({"name": "mails", "template": "{text}:", "labels": labels, "gold": "label"} | changes)


TASK = make_task()


def write(folder: Path, content: str, name: str = "rows.csv") -> Path:
    (folder / name).write_text(content, encoding="utf-8")
    return folder / name


def refused(path: Path, task: Task = TASK, read_as: ReadAs = ReadAs()) -> BadRowsError:  # noqa: B008 (immutable)
    with pytest.raises(BadRowsError) as raised:
        load_examples(path, task, read_as)
    assert "\n" not in "".join([raised.value.message, *raised.value.table])
    return raised.value


@pytest.mark.parametrize("value", ["spam", "spam ", " Spam", "SPAM", "1", " 1 "])
def test_case_and_outer_spaces_of_labels_do_not_matter(tmp_path: Path, value: str) -> None:
    task = make_task(gold_values={"1": "spam"}, known="known")
    loaded = load_examples(write(tmp_path, f"text,label,known\nfree prize,{value},{value}\nsee you,Fine,\n"), task)
    assert loaded.gold == {"0": "spam", "1": "fine"}
    assert loaded.known == {"0": "spam"}


def test_case_matters_where_labels_differ_in_it(tmp_path: Path) -> None:
    task = make_task(labels={"it": " it", "IT": " technology"})
    assert load_examples(write(tmp_path, "text,label\na,it\nb,IT\n"), task).gold == {"0": "it", "1": "IT"}
    with pytest.raises(RequestError, match="line 2: the label 'It' is none of it, IT"):
        load_examples(write(tmp_path, "text,label\na,It\n"), task)


def test_texts_may_mean_that_there_is_no_label(tmp_path: Path) -> None:
    path = write(tmp_path, 'text,label\na,spam\nb,N/A\nc,?\nd,"  "\ne,unsure\n')
    assert load_examples(path, make_task(no_label=["n/a", "?", "unsure"])).gold == {"0": "spam"}
    error = refused(path)
    assert "3 of 5 rows cannot be used: the label 'N/A' is none of spam, fine (1)" in error.message


def test_values_that_are_no_labels_come_with_the_block_to_paste(tmp_path: Path) -> None:
    path = write(tmp_path, "text,label\n" + "a,Spamm\n" * 3 + "b,ham\n" * 2 + "c,fine\n")
    error = refused(path)
    assert error.table[1] == "          3  the label 'Spamm' is none of spam, fine  [line 2, line 3, line 4]"
    start = error.table.index("gold_values:")
    assert error.table[start + 1 : start + 3] == ['  "Spamm": "spam"  # 3 rows', '  "ham": "LABEL"  # 2 rows']
    block = "\n".join(error.table[start:-1]).replace("LABEL", "fine")
    task = make_task(**yaml.safe_load(block))
    assert load_examples(path, task).gold == dict(zip("012345", [*["spam"] * 3, *["fine"] * 3], strict=True))


def test_several_labels_of_a_row_are_refused(tmp_path: Path) -> None:
    for value in (["spam", "fine"], "spam, Fine", "spam;fine", "spam|fine"):
        path = write(tmp_path, json.dumps({"text": "a", "label": value}), "rows.jsonl")
        with pytest.raises(RequestError, match=r"line 1: several labels in one row .*make a task for each of them"):
            load_examples(path, TASK)
    path = write(tmp_path, '{"text": "a", "label": ["spam"]}', "rows.jsonl")
    assert load_examples(path, TASK).gold == {"0": "spam"}


MIXED = (
    'id,text,label\na,"x, y",spam\nb,,fine\nc,x\na,x,fine\nd,x,ham\n,x,fine\n"e,x,fine\nf,"two\nlines",fine\ng,,spam\n'
)
TOLD = {
    "line 3": "the field 'text' is empty",
    "line 4": "2 cells, where the header has 3",
    "line 5": "duplicate id 'a'",
    "line 6": "the label 'ham' is none of spam, fine",
    "line 8": "broken CSV",
    "line 11": "the field 'text' is empty",
}


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    path = write(tmp_path, MIXED)
    error = refused(path)
    assert error.message.startswith(f"{path}: 6 of 9 rows cannot be used: the field 'text' is empty (2); ")
    assert "The first is line 3: the field 'text'" in error.message
    assert error.message.endswith("Correct them")
    assert error.table[0] == f"{path}:"
    assert error.table[1] == "          2  the field 'text' is empty  [line 3, line 11]"
    table = "\n".join(error.table)
    for place, what in TOLD.items():
        assert what in table
        assert place in table


def test_bad_rows_are_skipped_where_that_is_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path, MIXED)
    loaded = load_examples(path, TASK, SKIP)
    assert [(example.id, example.text) for example in loaded.examples] == [
        ("a", "x, y:"), ("5", "x:"), ("f", "two\nlines:"),
    ]  # fmt: skip
    assert loaded.gold == {"a": "spam", "5": "fine", "f": "fine"}
    assert loaded.counts_text == "9 rows read, 6 bad rows skipped"
    assert {fault.where for fault in loaded.skipped} == {f"{path}, {place}" for place in TOLD}
    assert loaded.skipped[0].row == {"id": "b", "text": None, "label": "fine"}


def test_bad_lines_of_json_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"text": "a"}\n{"text": \n[1]\n{"text": "\xff"}\n\n{"text": "b"}\n')
    assert [example.id for example in load_examples(path, TASK, SKIP).examples] == ["0", "4"]
    assert "3 of 5 rows cannot be used" in refused(path).message


def test_a_file_of_bad_rows_alone_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path, "text,label\na,ham\nb,eggs\n")
    assert "--skip-bad" not in refused(path, read_as=SKIP).message


def test_a_field_of_no_row_is_told_once(tmp_path: Path) -> None:
    path = write(tmp_path, "Text ,label\na,spam\nb,fine\n")
    with pytest.raises(RequestError) as raised:
        load_examples(path, TASK, SKIP)
    assert raised.value.message == (
        f"{path}: the field 'text' is missing in all 2 rows, or not a plain value (there are: Text, label; is 'Text' "
        "meant?; if the first line is no header, name the columns with --columns, or `columns` in the task)"
    )
    named = make_task(columns=["text", "label"])
    assert load_examples(write(tmp_path, "a,spam\nb,fine\n"), named).gold == {"0": "spam", "1": "fine"}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"gold": "lable"}, "no row has the field 'lable', which `gold` names .*is 'label' meant?"),
        ({"gold": "Label"}, "is 'label' meant?"),
        ({"known": "lable", "gold": None}, "no row has the field 'lable', which `known` names .*is 'label' meant?"),
        ({"id": "nope"}, "no row has the field 'nope', which `id` names \\(there are: text, label\\)"),
        ({"id": "txt"}, "which `id` names .*is 'text' meant?"),
        ({"gold": "department"}, None),
        ({"gold": "text_2"}, None),
    ],
)
def test_a_column_that_is_not_there(tmp_path: Path, changes: dict[str, Any], says: str | None) -> None:
    """Gold may be in no row; a name much like a column's that is used for nothing else is a slip."""
    path = write(tmp_path, "text,label\na,spam\nb,fine\n")
    if says is None:
        assert load_examples(path, make_task(**changes)).gold == {}
        return
    with pytest.raises(RequestError, match=says):
        load_examples(path, make_task(**changes))


def test_rows_without_an_id_are_numbered_apart_from_others(tmp_path: Path) -> None:
    path = write(tmp_path, "id,text\n3,a\n,b\nrow-1,c\n,d\n,e\n1,f\n")
    ids = [example.id for example in load_examples(path, TASK).examples]
    assert ids == ["3", "row-row-1", "row-1", "row-3", "4", "1"]


def test_what_is_kept_and_shown_is_bounded() -> None:
    rows = [Row(f"row {k}", {"text": "x", "label": f"value {k}" * 100}) for k in range(MAX_KINDS + 500)]
    with pytest.raises(BadRowsError) as raised:
        examples_of(rows, TASK)
    assert len(raised.value.message) < 2000
    assert "--skip-bad" not in raised.value.message  # these rows are not read by a command
    assert len(raised.value.table) < 2 * MAX_SHOWN + 10
    assert max(map(len, raised.value.table)) < 500
    bad = BadRows("rows", TASK, skip=False)
    for k in range(5000):
        bad.add(Fault(f"row {k}", "broken", "broken", "x"))
    assert len(bad.kept) == 1


def loaded_yaml(folder: Path, text: str) -> tuple[Task, Loaded]:
    task = load_task(str(write(folder, text, "task.yaml"))).task
    return task, load_examples(write(folder, "Message Text,spam?\nfree prize,yes\nsee you,no\nhm,\n"), task)


def test_names_that_yaml_has_other_ideas_of(tmp_path: Path) -> None:
    """Labels called yes and no, or by numbers; and a column whose name has spaces."""
    text = 'name: mails\ntemplate: "Message: {Message Text}\\nSpam:"\ngold: "spam?"\n'
    task, loaded = loaded_yaml(tmp_path, text + 'labels: {yes: " yes", no: " no"}\nrates: {yes: 0.1}\nno_label: [hm]\n')
    assert task.label_names == ["yes", "no"]
    assert loaded.gold == {"0": "yes", "1": "no"}
    assert loaded.examples[0].text == "Message: free prize\nSpam:"
    numbered = text + 'labels: {1: " one", 0: " nil"}\ngold_values: {yes: "1", no: "0"}\n'
    assert loaded_yaml(tmp_path, numbered)[1].gold == {"0": "1", "1": "0"}
    truths = text + 'labels: {True: " true", False: " false"}\ngold_values: {YES: "True", NO: "False"}\n'
    assert loaded_yaml(tmp_path, truths)[1].gold == {"0": "True", "1": "False"}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("columns: [text, text]", "columns: every column needs a name of its own"),
        ("columns: [text, ' ']", "columns: every column needs a name of its own"),
        ("encoding: nobodys", "there is no encoding 'nobodys'"),
        ("gold_values: {ham: good}", "gold_values: 'ham' stands for 'good', which is none of the task's labels"),
        ("no_label: [spam]", "no_label: 'spam' also stands for a label"),
        ('template: "Message:"', "template: names no field of a row, so that all examples would have the text"),
        ('template: "{text} {label}"', "take {label} out of it"),
    ],
)
def test_a_task_that_reads_data_wrongly_is_refused(tmp_path: Path, line: str, says: str) -> None:
    fields = {"name": "x", "template": "{text}:", "labels": {"spam": " s", "fine": " f"}, "gold": "label"}
    text = yaml.safe_dump(fields | yaml.safe_load(line))
    with pytest.raises(RequestError) as raised:
        load_task(str(write(tmp_path, text, "task.yaml")))
    assert says in raised.value.message
