"""Labels as judgements of responses: what is a prompt, what a response, and which pairs follow."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icm_annealer.data.examples import Example
from icm_annealer.data.task import Task
from icm_annealer.export.base import ExportJob
from icm_annealer.export.labelled import Labelled
from icm_annealer.export.reading import Reading, reading
from icm_annealer.export.registry import find_format
from icm_annealer.export.responses import MAX_PAIRS, ResponsePair, judged_pairs, judgements
from icm_annealer.runs.schema.rows import LabelRow
from icm_client import RequestError

CLAIMS = Task.model_validate(
    {
        "name": "claims",
        "template": "Question: {question}\nClaim: {claim}\nI think this claim is",
        "labels": {"False": " False", "True": " True"},
        "group": "q",
        "rules": [{"kind": "different_keys", "key": "claim", "label": "True"}],
    }
)
COMPARED = Task.model_validate(
    {
        "name": "compared",
        "template": "Human: {question}\nResponse 1: {one}\nResponse 2: {two}\nResponse 1 is better:",
        "labels": {"True": " True", "False": " False"},
        "group": "q",
        "rules": [{"kind": "mirrored"}],
    }
)


def example(task: Task, number: int, **facts: Any) -> Example:
    return Example(str(number), task.render(facts), str(facts["q"]) if "q" in facts else None, facts)


def labelled(task: Task, rows: list[tuple[dict[str, Any], str, float]]) -> list[Labelled]:
    """From fields, label and margin."""
    return [
        Labelled(
            example(task, number, **facts),
            _row(task, number, label, margin),
        )
        for number, (facts, label, margin) in enumerate(rows)
    ]


def _row(task: Task, number: int, label: str, margin: float) -> LabelRow:
    own = 1 / (1 + math.exp(-margin))
    probs = {name: own if name == label else 1 - own for name in task.label_names}
    return LabelRow(
        id=str(number),
        label=label,
        probs=probs,
        margin=margin,
        context_probs=probs,
        label_mass=1.0,
        group=None,
        run="r",
    )


def claim(q: int, text: str, label: str, margin: float = 1.0) -> tuple[dict[str, Any], str, float]:
    return {"q": q, "question": f"Q{q}?", "claim": text}, label, margin


def comparison(q: int, one: str, two: str, label: str) -> tuple[dict[str, Any], str, float]:
    return {"q": q, "question": f"Q{q}?", "one": one, "two": two}, label, 1.0


def read(task: Task, rows: list[Labelled], **named: str | None) -> Reading:
    options = {"prompt": None, "response": None, "better": None, **named}
    return reading(task, [one.example for one in rows], options["prompt"], options["response"], options["better"])


def test_claims_of_a_group() -> None:
    rows = labelled(
        CLAIMS,
        [claim(0, "a", "True", 3), claim(0, "b", "False", 1), claim(0, "c", "False", 2), claim(1, "d", "False")],
    )
    how = read(CLAIMS, rows)
    assert how == Reading("Question: {question}\n", "", ("claim",), "True")  # the rule's label, though it stands second
    pairs, notes = judged_pairs(rows, how)
    assert pairs == [
        ResponsePair("Question: Q0?\n", "a", "c"),
        ResponsePair("Question: Q0?\n", "a", "b"),
    ]  # the most certain first
    assert notes == ["no pair from 1 of 2 groups: a good label, or another one, is missing"]
    assert [tuple(one) for one in judgements(rows, how)] == [
        ("Question: Q0?\n", "a", True),
        ("Question: Q0?\n", "b", False),
        ("Question: Q0?\n", "c", False),
        ("Question: Q1?\n", "d", False),
    ]


def test_mirrored_comparisons_give_one_pair_each() -> None:
    rows = labelled(
        COMPARED,
        [
            comparison(0, "a", "b", "True"),
            comparison(0, "b", "a", "False"),
            comparison(1, "c", "d", "False"),
            comparison(1, "d", "c", "True"),
        ],
    )
    how = read(COMPARED, rows)
    assert how == Reading("Human: {question}\n", "", ("one", "two"), "True")
    pairs, notes = judged_pairs(rows, how)
    assert pairs == [ResponsePair("Human: Q0?\n", "a", "b"), ResponsePair("Human: Q1?\n", "d", "c")]
    assert notes == []
    assert [(one.completion, one.label) for one in judgements(rows, how)] == [
        ("a", True),
        ("b", False),
        ("d", True),
        ("c", False),
    ]


def test_a_pair_labelled_against_its_mirror_is_left_out() -> None:
    rows = labelled(COMPARED, [comparison(0, "a", "b", "True"), comparison(0, "b", "a", "True")])
    pairs, notes = judged_pairs(rows, read(COMPARED, rows))
    assert pairs == []
    assert notes == ["1 pair left out: one order was labelled against the other"]


def test_half_of_a_mirrored_pair_is_enough() -> None:
    rows = labelled(COMPARED, [comparison(0, "a", "b", "True"), comparison(0, "b", "a", "False")])
    assert judged_pairs(rows[1:], read(COMPARED, rows)).pairs == [ResponsePair("Human: Q0?\n", "a", "b")]


def test_no_response_is_better_than_itself() -> None:
    rows = labelled(CLAIMS, [claim(0, "a", "True"), claim(0, "a", "False"), claim(0, "b", "False")])
    assert judged_pairs(rows, read(CLAIMS, rows)).pairs == [ResponsePair("Question: Q0?\n", "a", "b")]


def test_a_large_group_gives_its_most_certain_pairs() -> None:
    rows = labelled(CLAIMS, [claim(0, f"c{k}", "True" if k < 5 else "False", k / 10) for k in range(10)])
    pairs, notes = judged_pairs(rows, read(CLAIMS, rows))
    assert len(pairs) == MAX_PAIRS
    assert pairs[0].chosen == "c4"
    assert notes == ["9 pairs left out: more than 16 of a group, the least certain of them"]


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from("abcd"), st.booleans()), min_size=2, max_size=12))
def test_pairs_are_those_of_the_labels(rows: list[tuple[int, str, bool]]) -> None:
    made = labelled(CLAIMS, [claim(q, text, str(label)) for q, text, label in rows])
    how = Reading("Question: {question}\n", "", ("claim",), "True")
    expected = {
        (f"Question: Q{q}?\n", text, other)
        for q, text, label in rows
        for r, other, wrong in rows
        if q == r and label and not wrong and text != other
    }
    assert {tuple(pair) for pair in judged_pairs(made, how).pairs} == expected


def test_other_names_and_prompts() -> None:
    task = Task(
        name="mails", template="Subject: {title} {{x}} Mail: {text}\nKind:", labels={"spam": " s", "fine": " f"}
    )
    rows = labelled(
        task, [({"title": "Hi", "text": "Dear"}, "fine", 1.0), ({"title": "Buy", "text": "Now"}, "spam", 1.0)]
    )
    how = read(task, rows, response="text", better="fine")
    assert how.prompt == "Subject: {title} {{x}} Mail:"
    assert [tuple(one) for one in judgements(rows, how)] == [
        ("Subject: Hi {x} Mail:", " Dear", True),
        ("Subject: Buy {x} Mail:", " Now", False),
    ]
    how = read(task, rows, response="title", prompt="Write a title for: {text}\n", better="fine")
    assert judgements(rows, how)[0] == ("Write a title for: Dear\n", "Hi", True)


def test_a_response_that_is_not_in_the_template_has_no_prompt_of_its_own() -> None:
    task = Task(name="mails", template="{summary}\nKind:", labels={"spam": " s", "fine": " f"})
    rows = labelled(task, [({"summary": "Hi", "text": "Dear"}, "fine", 1.0)])
    assert read(task, rows, response="text").prompt == ""


UNGROUPED = Task(name="plain", template="{text}", labels={"a": " a", "b": " b"})
THREE = CLAIMS.model_copy(update={"labels": {"x": " x", "y": " y", "z": " z"}, "rules": []})


@pytest.mark.parametrize(
    ("task", "rows", "named", "says"),
    [
        (UNGROUPED, [({"text": "t"}, "a", 1.0)], {}, "has no groups"),
        (UNGROUPED, [({"text": "t"}, "a", 1.0)], {"response": "text,text"}, "two different ones"),
        (UNGROUPED, [({"text": "t"}, "a", 1.0)], {"response": "a,b,c"}, "FIELD,FIELD"),
        (UNGROUPED, [({"text": "t"}, "a", 1.0)], {"response": "{text}"}, "FIELD,FIELD"),
        (UNGROUPED, [({"text": "t"}, "a", 1.0)], {"response": "text", "better": "c"}, "none of a, b"),
        (UNGROUPED, [({"text": "t"}, "a", 1.0)], {"response": "text", "prompt": "{}"}, "--prompt"),
        (UNGROUPED, [({"text": "t"}, "a", 1.0)], {"response": "text", "prompt": "{"}, "--prompt"),
        (CLAIMS, [claim(0, "a", "True"), claim(1, "b", "True")], {}, "no field of the template differs"),
        (THREE, [claim(0, "a", "x"), claim(0, "b", "y")], {}, "--better"),
        (THREE, [claim(0, "a", "x"), claim(0, "b", "y")], {"response": "claim,question", "better": "x"}, "two labels"),
        (
            CLAIMS,
            [claim(0, "a", "True"), ({"q": 0, "question": "other", "claim": "b"}, "False", 1.0)],
            {},
            "the fields question, claim differ",
        ),
    ],
)
def test_what_cannot_be_read_as_responses(
    task: Task, rows: list[tuple[dict[str, Any], str, float]], named: dict[str, str], says: str
) -> None:
    with pytest.raises(RequestError) as raised:
        read(task, labelled(task, rows), **named)
    assert says in raised.value.message


@pytest.mark.parametrize(("named", "option"), [({"response": "no"}, "--response"), ({"prompt": "{no}"}, "--prompt")])
def test_a_field_that_a_row_lacks_is_reported(named: dict[str, str], option: str) -> None:
    rows = labelled(CLAIMS, [claim(0, "a", "True"), claim(0, "b", "False")])
    with pytest.raises(RequestError, match=f"{option}: no field 'no'"):
        judgements(rows, read(CLAIMS, rows, **named))


def write(name: str, path: Path, task: Task, rows: list[Labelled]) -> list[dict[str, Any]]:
    find_format(name).write(path, ExportJob(task, rows, "m", path.suffix, lambda: read(task, rows)))
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_training_files_have_the_columns_that_trl_wants(tmp_path: Path) -> None:
    """https://huggingface.co/docs/trl/dataset_formats: preference with and without its prompt, unpaired preference."""
    rows = labelled(CLAIMS, [claim(0, "a", "True"), claim(0, "b", "False")])
    assert write("dpo", tmp_path / "o", CLAIMS, rows) == [{"prompt": "Question: Q0?\n", "chosen": "a", "rejected": "b"}]
    assert write("rm", tmp_path / "o", CLAIMS, rows) == [{"chosen": "Question: Q0?\na", "rejected": "Question: Q0?\nb"}]
    assert write("kto", tmp_path / "o", CLAIMS, rows) == [
        {"prompt": "Question: Q0?\n", "completion": "a", "label": True},
        {"prompt": "Question: Q0?\n", "completion": "b", "label": False},
    ]


@pytest.mark.slow
def test_trl_itself_reads_them(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    data_utils = pytest.importorskip("trl.data_utils")
    rows = labelled(CLAIMS, [claim(q, text, label) for q in (0, 1) for text, label in (("a", "True"), ("b", "False"))])
    for name in ("dpo", "kto"):
        write(name, tmp_path / f"{name}.jsonl", CLAIMS, rows)
    dpo, kto = (
        datasets.load_dataset("json", data_files=str(tmp_path / f"{n}.jsonl"), split="train") for n in ("dpo", "kto")
    )
    unpaired = [dict(row) for row in data_utils.unpair_preference_dataset(dpo)]
    assert sorted(map(str, unpaired)) == sorted(str(dict(row)) for row in kto)


@pytest.mark.parametrize("name", ["dpo", "kto"])
def test_an_empty_prompt_is_refused_where_one_is_needed(tmp_path: Path, name: str) -> None:
    task = CLAIMS.model_copy(update={"template": "Claim: {claim}\nI think this claim is"})
    rows = labelled(task, [claim(0, "a", "True"), claim(0, "b", "False")])
    with pytest.raises(RequestError, match="--prompt"):
        write(name, tmp_path / "o", task, rows)
    assert write("rm", tmp_path / "o", task, rows) == [{"chosen": "a", "rejected": "b"}]


def test_no_pairs_at_all_is_an_error(tmp_path: Path) -> None:
    rows = labelled(CLAIMS, [claim(0, "a", "True"), claim(0, "b", "True")])
    with pytest.raises(RequestError, match="no pair from 1 of 1 group:"):
        write("rm", tmp_path / "o", CLAIMS, rows)
