"""Built-in tasks and user task files: invalid ones are refused in one line."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.released import released_file

from icm_annealer.data.examples import consistency_of, labels_of, load_examples
from icm_annealer.data.task import Task, built_in_tasks, load_task
from icm_annealer.data.task_check import look_at_task
from icm_client import RequestError

GOOD: dict[str, Any] = {
    "name": "words",
    "template": "Word: {word}\nGroup:",
    "labels": {"living": " living", "object": " object"},
    "gold": "label",
    "group": "kin",
}


def write(folder: Path, **changes: Any) -> str:
    path = folder / "task.yaml"
    path.write_text(yaml.safe_dump(GOOD | changes), encoding="utf-8")
    return str(path)


def test_there_are_built_in_tasks() -> None:
    assert {"living", "names", "kinds"} <= set(built_in_tasks())


WITH_DATA = [name for name in built_in_tasks() if load_task(name).task.data]
RELEASED = {
    "truthfulqa": ("truthfulqa_train.json", 2608, 652),
    "truthfulqa-preference": ("truthfulqa_preference_train.json", 7250, 3625),
    "alpaca": ("alpaca_test.json", 934, 467),
    "gsm8k": ("gsm8k_verification_test.json", 2972, 743),
}
"""Task -> its released file, with the numbers of rows and groups."""
FIRST_SHOT = {
    "truthfulqa": "Question: {question}\nClaim: {choice}\nI think this claim is",
    "gsm8k": "Question: {question}\nClaim: {cot}\nI think this claim is",
    "alpaca": "Human: {question}\nResponse 1: {choice}\nResponse 2: {choice_2}\n"
    "Claim: Response 1 is more helpful and harmless than Response 2.\nI think this claim is",
    "truthfulqa-preference": "Question: {question}\nAnswer 1: {choice}\nAnswer 2: {choice_2}\n"
    "Claim: Answer 1 is more truthful than Answer 2.\nI think this claim is",
}


@pytest.mark.parametrize("name", WITH_DATA)
def test_built_in_tasks_are_large_and_balanced(name: str) -> None:
    loaded = load_task(name)
    path = loaded.data_path
    assert path is not None
    examples, gold, *_ = load_examples(path, loaded.task)
    assert loaded.task.name == name
    assert loaded.task.title
    assert len(examples) >= 400
    assert len(gold) == len(examples)
    assert len({example.text for example in examples}) == len(examples)
    counts = Counter(gold.values())
    assert set(counts) == set(loaded.task.label_names)
    # A rare truth is what that task is about.
    assert max(counts.values()) <= (4 if name == "lab-unbalanced" else 1.25) * min(counts.values())


@pytest.mark.parametrize("name", built_in_tasks())
def test_built_in_prompts_end_where_the_label_begins(name: str) -> None:
    task = load_task(name).task
    assert not task.template.endswith((" ", "\n"))
    assert all(text.startswith(" ") and text.rstrip() == text for text in task.verbalizers)


@pytest.mark.parametrize("name", sorted(set(built_in_tasks()) - set(WITH_DATA)))
def test_tasks_without_data_say_who_makes_them(name: str) -> None:
    loaded = load_task(name)
    assert loaded.task.name == name
    assert loaded.data_path is None
    assert loaded.task.builder.startswith("icm data ")
    assert loaded.task.gold == "label"
    assert loaded.task.group == "consistency_id"
    assert "builder" not in loaded.task.model_dump()  # a run does not depend on it
    for rule in loaded.task.rules:
        assert (rule.kind == "mirrored") == (loaded.task.leave_out == "group")


@pytest.mark.parametrize("name", RELEASED)
def test_released_files_load_as_they_are(name: str) -> None:
    file, num_rows, num_groups = RELEASED[name]
    path = released_file(file)
    task = load_task(name).task
    examples, gold, *_ = load_examples(path, task)
    assert (len(examples), len({example.group for example in examples})) == (num_rows, num_groups)
    assert set(gold.values()) == {"True", "False"}
    assert len(gold) == num_rows
    assert examples[0].text == FIRST_SHOT[name].format_map(json.loads(path.read_text())[0])
    judge = consistency_of(task, examples)
    assert judge.num_contradictions(labels_of(examples, gold, task)) == 0
    assert "label" not in examples[0].fields


def test_a_task_file_of_ones_own(tmp_path: Path) -> None:
    loaded = load_task(write(tmp_path, data="rows.jsonl", labels={"a": [" alpha", " first"], "b": " beta"}))
    assert loaded.data_path == tmp_path / "rows.jsonl"
    assert load_task(write(tmp_path, data="hf:owner/name:train")).data_path == "hf:owner/name:train"
    assert loaded.task.label_names == ["a", "b"]
    assert loaded.task.verbalizers == [" alpha", " beta"]
    assert loaded.task.render({"word": "cod"}) == "Word: cod\nGroup:"


DOCS = Path(__file__).parents[4] / "docs" / "tasks.md"


@pytest.mark.parametrize("example", re.findall(r"```yaml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL))
def test_the_examples_of_the_docs_are_good_tasks(tmp_path: Path, example: str) -> None:
    path = tmp_path / "task.yaml"
    path.write_text(example, encoding="utf-8")
    assert look_at_task(load_task(str(path)).task).wrong == []


def test_the_docs_name_every_field() -> None:
    fields = DOCS.read_text(encoding="utf-8").partition("## Every field")[2].partition("## Data")[0]
    assert set(Task.model_fields) <= set(re.findall(r"`(\w+)`", fields))


def test_doubled_braces_are_text(tmp_path: Path) -> None:
    task = load_task(write(tmp_path, template="{{x}} {word}")).task
    assert task.render({"word": "cod"}) == "{x} cod"
    assert set(task.fields) == {"word", "kin"}


@pytest.mark.parametrize("template", ["{}", "{ }", "{word:{other.__class__}}", "{word", "word}", "{a}}"])
def test_braces_of_a_template_belong_together(tmp_path: Path, template: str) -> None:
    with pytest.raises(RequestError) as raised:
        load_task(write(tmp_path, template=template))
    assert "\n" not in raised.value.message
    assert "task.yaml" in raised.value.message


@pytest.mark.parametrize(
    "name", ["two words", "word.__class__", "word.__class__.__mro__", "word[0]", "0", "word!r", "word:>999999999"]
)
def test_what_stands_in_braces_is_only_ever_a_column(tmp_path: Path, name: str) -> None:
    task = load_task(write(tmp_path, template=f"{{{{a}}}} {{{name}}}:", gold="label")).task
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"kin": "a", name: "{word} %s"}))
    assert load_examples(path, task).examples[0].text == "{a} {word} %s:"
    path.write_text(json.dumps({"kin": "a"}))
    with pytest.raises(RequestError, match=r"the field '.*' is missing"):
        load_examples(path, task)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"labels": {"one": " one"}}, "labels"),
        ({"labels": {"a": " same", "b": " same"}}, "'b' needs a text of its own"),
        ({"labels": {"a": " x", "b": [" y", " x"]}}, "'b' needs a text of its own"),
        ({"labels": {"a": " ", "b": " b"}}, "'a' needs a text of its own"),
        ({"labels": {"a": "", "b": " b"}}, "'a' needs a text of its own"),
        ({"labels": {"a": [], "b": " b"}}, "'a' needs a text"),
        ({"name": "two words"}, "name"),
        ({"tempate": "x"}, "tempate"),
        ({"rules": [{"kind": "no_such_rule"}]}, "rules"),
        ({"rules": [{"kind": "same_key"}]}, "rules"),
        ({"rules": [{"kind": "python", "function": "os.system('x')"}]}, "rules"),
        ({"rules": [{"kind": "at_most_one", "label": "Living"}]}, "'Living', which is none of the task's"),
        ({"rules": [{"kind": "same_key", "key": "label"}]}, "gold field 'label'"),
        ({"rules": [{"kind": "mirrored"}], "group": None}, "no group field"),
        ({"leave_out": "groups"}, "leave_out"),
    ],
)
def test_mistakes_are_reported_in_one_line(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(RequestError) as raised:
        load_task(write(tmp_path, **changes))
    assert says in raised.value.message
    assert "task.yaml" in raised.value.message
    assert "\n" not in raised.value.message


@pytest.mark.parametrize(
    "content", [b"", b"- a\n- b\n", b"name: [", b"name: a\n  b: c\n d", b"\xff\xfe", b"just text", b"!!python/none"]
)
def test_a_file_that_is_no_task_is_reported_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.yaml"
    path.write_bytes(content)
    with pytest.raises(RequestError) as raised:
        load_task(str(path))
    assert "broken.yaml" in raised.value.message
    assert "\n" not in raised.value.message


@pytest.mark.parametrize("name", ["nothing", "../living", "tasks/none.yaml", ""])
def test_an_unknown_task_lists_those_there_are(name: str) -> None:
    with pytest.raises(RequestError, match=r"neither a file nor one of .*living"):
        load_task(name)
