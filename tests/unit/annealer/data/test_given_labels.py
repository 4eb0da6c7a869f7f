"""Known labels: where they come from, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import planted

from icm_annealer.data.examples import Loaded, load_examples
from icm_annealer.data.given_labels import GivenLabels, with_known
from icm_annealer.data.task import Task, load_task
from icm_client import RequestError

TASK = Task(
    name="mail",
    template="{text}",
    labels={"spam": " spam", "fine": " fine"},
    gold_values={"1": "spam"},
    known="checked",
)
PLAIN = TASK.model_copy(update={"known": None})


def rows(path: Path, *checked: Any) -> Path:
    made = [{"id": f"m{k}", "text": f"text {k}", "checked": value} for k, value in enumerate(checked)]
    planted.write_rows(path / "rows.jsonl", made)
    return path / "rows.jsonl"


@pytest.fixture
def loaded(tmp_path: Path) -> Loaded:
    return load_examples(rows(tmp_path, "spam", None, 1, None, "", None, None, None), TASK)


def test_a_field_of_the_rows_holds_known_labels(loaded: Loaded, tmp_path: Path) -> None:
    assert loaded.known == {"m0": "spam", "m2": "spam"}
    assert "checked" not in loaded.examples[0].fields
    # The examples are the same, whatever is known of them.
    assert load_examples(rows(tmp_path, *[None] * 8), TASK).examples == loaded.examples
    with pytest.raises(RequestError, match="line 2: the label 'Spams' is none of spam, fine, 1"):
        load_examples(rows(tmp_path, None, "Spams"), TASK)


@pytest.mark.parametrize("name", ["text", "kind", "id", "team"])
def test_the_field_is_used_for_nothing_else(name: str, tmp_path: Path) -> None:
    text = 'name: mail\ntemplate: "{text}"\nlabels: {spam: " spam", fine: " fine"}\n'
    path = tmp_path / "task.yaml"
    path.write_text(text + f"gold: kind\ngroup: team\nknown: {name}\n", encoding="utf-8")
    with pytest.raises(RequestError, match=f"'{name}' is the "):
        load_task(str(path))


@pytest.mark.parametrize("name", ["known.jsonl", "known.csv"])
def test_a_file_adds_known_labels(name: str, loaded: Loaded, tmp_path: Path) -> None:
    lines = {
        "known.jsonl": '{"id": "m1", "label": "fine", "margin": 2.5}\n{"id": "m3", "label": null}\n'
        '{"id": "m0", "label": "spam"}\n',
        "known.csv": "id,label\nm1,fine\nm3,\nm0,1\n",
    }
    (tmp_path / name).write_text(lines[name], encoding="utf-8")
    assert with_known(loaded, TASK, str(tmp_path / name)).known == {"m0": "spam", "m1": "fine", "m2": "spam"}


def test_python_gives_known_labels_by_id_or_by_row(loaded: Loaded) -> None:
    expected = {"m0": "spam", "m1": "fine", "m2": "spam"}
    assert with_known(loaded, TASK, {"m1": "fine", "m3": None}).known == expected
    assert with_known(loaded, TASK, [None, "fine", *[None] * 6]).known == expected
    assert with_known(loaded, TASK, np.array([None, "fine", *[np.nan] * 6], dtype=object)).known == expected
    assert with_known(loaded, TASK, {"m1": np.int64(1)}).known["m1"] == "spam"
    numbered = load_examples_without_ids(loaded)
    assert with_known(numbered, PLAIN, {1: "fine"}).known == {"1": "fine"}


def load_examples_without_ids(loaded: Loaded) -> Loaded:
    examples = [type(e)(str(number), e.text, None, e.fields) for number, e in enumerate(loaded.examples)]
    return Loaded(examples, {})


@pytest.mark.parametrize(
    ("known", "says"),
    [
        ({"m9": "spam", "n": "fine"}, "known: no example has the id 'm9', 'n'"),
        (dict.fromkeys(map(str, range(9)), "spam"), "no example has the id '0', '1', '2', '3', '4' and 4 more"),
        ({"m1": "Fined"}, "known, id 'm1': the label 'Fined' is none of"),
        ({"m0": "fine"}, "known: another known label than before for 'm0'"),
        (["spam"], "known: 1 label for 8 examples"),
        (7, "known: a mapping from ids to labels, or a label for each row, not int"),
        ({"m1"}, "known: a mapping from ids to labels, or a label for each row, not set"),
    ],
)
def test_wrong_known_labels_are_refused(known: Any, says: str, loaded: Loaded) -> None:
    with pytest.raises(RequestError, match=says):
        with_known(loaded, TASK, known)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("id,label\nm1,fine\nm1,fine\n", "more than one label for 'm1'"),
        ("id,kind\nm1,fine\n", "line 2: a known label needs the fields id and label"),
        ("id,label\n,fine\n", "line 2: a known label needs the fields id and label"),
    ],
)
def test_a_wrong_file_is_refused(text: str, says: str, loaded: Loaded, tmp_path: Path) -> None:
    path = tmp_path / "known.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RequestError, match=says):
        with_known(loaded, TASK, path)


def test_only_labels_of_the_examples_are_given(loaded: Loaded) -> None:
    given = GivenLabels({"m0": "spam", "m5": "fine"}, {"m5": "fine"})
    assert given.of(loaded.examples[:2]) == GivenLabels({"m0": "spam"}, {})
    assert GivenLabels({"m0": "spam"}).of(loaded.examples[1:]) == GivenLabels({})
