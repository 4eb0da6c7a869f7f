"""Errors in data name file and line; gold labels are only for evaluation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from icm_annealer.data.examples import (
    Example,
    consistency_of,
    digest,
    first_of,
    labels_of,
    load_examples,
    sample,
)
from icm_annealer.data.rows import MAX_LINE_BYTES
from icm_annealer.data.task import Task
from icm_client import RequestError

GOOD = {"id": "a", "word": "cod", "label": "living", "kin": "fish", "size": 3}


def make_task(**changes: Any) -> Task:
    fields: dict[str, Any] = {
        "name": "words",
        "template": "Word: {word}\nGroup:",
        "labels": {"living": " living", "object": [" object", " thing"]},
        "gold": "label",
    }
    return Task.model_validate(fields | changes)


TASK = make_task()


def write(folder: Path, *lines: str | bytes | dict[str, Any]) -> Path:
    path = folder / "rows.jsonl"
    encoded = [json.dumps(line) if isinstance(line, dict) else line for line in lines]
    path.write_bytes(b"\n".join(line.encode() if isinstance(line, str) else line for line in encoded) + b"\n")
    return path


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('{"id": "b", "word": ', "not valid JSON"),
        ("[1, 2]", "must be a JSON object, not list"),
        ("null", "must be a JSON object"),
        ("17", "must be a JSON object"),
        ("1" * 5000, "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ({**GOOD, "word": "cup"}, "duplicate id 'a'"),
        ({"id": "b", "label": "living"}, "'word' is missing"),
        ({"id": "b", "word": None}, "'word' is empty"),
        ({"id": "b", "word": ["cup"]}, "'word' holds a list or an object"),
        ({"id": "b", "word": {"text": "cup"}}, "'word' holds a list or an object"),
        ({"id": "b", "word": "cup", "label": "plant"}, "the label 'plant' is none of living, object"),
        ({"id": "b", "word": "cup", "label": 1}, "the label '1' is none of"),
        (b'{"id": "b", "word": "caf\xe9"}', "not UTF-8"),
        ('{"id": "b", "word": "\\ud83d"}', "surrogate"),
        ('{"id": "\\udc00", "word": "cup"}', "surrogate"),
        ('{"id": "b", "word": "' + "x" * MAX_LINE_BYTES + '"}', f"longer than {MAX_LINE_BYTES} bytes"),
    ],
)
def test_a_broken_row_is_named(tmp_path: Path, line: Any, says: str) -> None:
    path = write(tmp_path, GOOD, line, {"id": "c", "word": "hat"})
    with pytest.raises(RequestError) as raised:
        load_examples(path, TASK)
    assert raised.value.message.startswith(f"{path}, line 2: ")
    assert says in raised.value.message
    assert "\n" not in raised.value.message


@pytest.mark.parametrize("row", [{"id": "b"}, {"id": "b", "word": "x", "label": "nothing"}])
def test_a_broken_row_of_a_list_is_named(tmp_path: Path, row: dict[str, Any]) -> None:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([GOOD, row]))
    with pytest.raises(RequestError, match="row 2: "):
        load_examples(path, TASK)


@pytest.mark.parametrize(
    "content", [b"", b"\n\n  \n", b"[]", b"[1", b"[" * 100_000, b'["\xff"]', b"[" + b"1" * 5000 + b"]"]
)
def test_a_file_without_rows_is_reported(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "rows"
    path.write_bytes(content)
    with pytest.raises(RequestError) as raised:
        load_examples(path, TASK)
    assert str(path) in raised.value.message


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="No such file"):
        load_examples(tmp_path / "nowhere.jsonl", TASK)


def test_a_folder_is_reported(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="directory"):
        load_examples(tmp_path, TASK)


def test_an_empty_text_is_reported(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD, {"id": "b", "word": "  "})
    with pytest.raises(RequestError, match="line 2: the example's text is empty"):
        load_examples(path, make_task(template="{word}"))


@pytest.mark.parametrize("field", ["group", "key"])
def test_the_fields_of_groups_and_rules_are_needed(tmp_path: Path, field: str) -> None:
    rules = [{"kind": "same_key", "key": "size"}]
    task = make_task(group="kin", rules=rules)
    assert load_examples(write(tmp_path, GOOD), task).examples[0].group == "fish"
    without = {key: value for key, value in GOOD.items() if key != {"group": "kin", "key": "size"}[field]}
    with pytest.raises(RequestError, match=r"line 1: the field '(kin|size)' is missing"):
        load_examples(write(tmp_path, without), task)


def test_lists_and_lines_give_the_same(tmp_path: Path) -> None:
    rows = [GOOD, {"word": "cup", "label": "object"}, {"word": "größer 東京"}]
    lines = write(tmp_path, *rows[:1], "", *rows[1:])
    whole = tmp_path / "rows.json"
    whole.write_text(json.dumps(rows))
    loaded = load_examples(lines, TASK)
    assert loaded == load_examples(whole, TASK)._replace(num_blank_lines=1)
    assert loaded.counts_text == "3 rows read, 1 blank line skipped"
    assert [example.id for example in loaded.examples] == ["a", "1", "2"]
    assert loaded.examples[2].text == "Word: größer 東京\nGroup:"
    assert loaded.gold == {"a": "living", "1": "object"}


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    path = write(tmp_path, b"\xef\xbb\xbf" + json.dumps(GOOD).encode())
    assert load_examples(path, TASK).examples[0].text == "Word: cod\nGroup:"


def test_braces_in_data_are_text(tmp_path: Path) -> None:
    path = write(tmp_path, {"word": "{word.__class__} {0}"})
    assert load_examples(path, TASK).examples[0].text == "Word: {word.__class__} {0}\nGroup:"


def test_gold_reaches_no_example(tmp_path: Path) -> None:
    row = {"id": "a", "word": "cod", "label": "living"}
    other = {**row, "label": "object"}
    first, second = (load_examples(write(tmp_path, each), TASK) for each in (row, other))
    assert first.examples == second.examples
    assert "living" not in repr(first.examples)
    assert "label" not in first.examples[0].fields
    assert digest(first.examples, ["word"]) == digest(second.examples, ["word"])
    assert (first.gold, second.gold) == ({"a": "living"}, {"a": "object"})


def test_a_template_or_group_of_gold_is_refused(tmp_path: Path) -> None:
    for task in (make_task(template="{word} {label}"), make_task(group="label")):
        with pytest.raises(RequestError, match="'label' is missing"):
            load_examples(write(tmp_path, GOOD), task)


def test_gold_values_rename(tmp_path: Path) -> None:
    task = make_task(gold_values={"true": "living", "0": "object"})
    path = write(tmp_path, {"word": "a", "label": True}, {"word": "b", "label": 0}, {"word": "c", "label": "object"})
    loaded = load_examples(path, task)
    assert labels_of(loaded.examples, loaded.gold, task).tolist() == [0, 1, 1]


def test_labels_without_gold_are_minus_one(tmp_path: Path) -> None:
    loaded = load_examples(write(tmp_path, GOOD, {"word": "b"}), TASK)
    assert labels_of(loaded.examples, loaded.gold, TASK).tolist() == [0, -1]


@pytest.mark.parametrize("change", [{"id": "z"}, {"word": "cup"}, {"kin": "plant"}, {"size": 4}])
def test_the_digest_is_of_all_that_a_search_sees(tmp_path: Path, change: dict[str, Any]) -> None:
    task = make_task(group="kin", rules=[{"kind": "same_key", "key": "size"}])
    before, after = (
        digest(load_examples(write(tmp_path, row), task).examples, task.rule_keys) for row in (GOOD, GOOD | change)
    )
    assert before != after


def grouped(groups: list[str | None]) -> list[Example]:
    return [Example(str(number), f"text {number}", group, {}) for number, group in enumerate(groups)]


def test_groups_are_in_order_of_their_first_member() -> None:
    judge = consistency_of(TASK, grouped(["b", None, "a", "b", None, "alone 1", "a"]))
    assert [group.tolist() for group in judge.groups] == [[0, 3], [1], [2, 6], [4], [5]]


@pytest.mark.parametrize("seed", range(5))
def test_samples_are_disjoint_and_keep_groups_together(seed: int) -> None:
    examples = grouped([f"group {number // 3}" for number in range(60)] + [None] * 10)
    train, test = sample(examples, 30, 20, np.random.default_rng(seed))
    assert 30 <= len(train) <= 30 + 2
    assert 20 <= len(test) <= 20 + 2
    assert not {e.id for e in train} & {e.id for e in test}
    assert not {e.group for e in train if e.group} & {e.group for e in test if e.group}


@pytest.mark.parametrize(
    ("sizes", "asked", "got"),
    [
        ([4] * 20, (30, 10), (32, 12)),
        ([4] * 20, (32, 12), (32, 12)),
        ([2, 5] * 10, (11, 3), (11, 4)),
        ([4] * 4, (30, 10), (16, 0)),
        ([4] * 4, (12, 1), (12, 4)),
        ([7, 9], (4, 4), (7, 9)),
    ],
)
def test_samples_of_whole_groups_reach_what_was_asked_if_the_data_do(
    sizes: list[int], asked: tuple[int, int], got: tuple[int, int]
) -> None:
    groups: list[str | None] = [f"group {number}" for number, size in enumerate(sizes) for _ in range(size)]
    train, test = sample(grouped(groups), *asked, np.random.default_rng(0))
    assert (len(train), len(test)) == got
    assert not {e.group for e in train} & {e.group for e in test}


def test_the_first_examples_are_whole_groups() -> None:
    assert [e.id for e in first_of(grouped(list("aabcba")), 3)] == ["0", "1", "2", "4", "5"]
    assert first_of(grouped([None] * 6), 3) == grouped([None] * 6)[:3]


def test_samples_depend_on_the_seed_alone() -> None:
    examples = grouped([None] * 50)
    draws = [sample(examples, 10, 10, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]


def test_examples_that_come_first_are_among_the_drawn() -> None:
    examples = grouped(["a", "a", "b", None, None, None, "c", "c"])
    ids = [example.id for example in examples]
    for seed in range(10):
        train, test = sample(examples, 4, 3, np.random.default_rng(seed), {ids[1], ids[6]})
        assert {example.id for example in train} == {ids[0], ids[1], ids[6], ids[7]}
        assert len(test) == 3
