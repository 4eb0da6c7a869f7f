"""Builders' rows: deterministic, ids and groups stable, and right for the tasks that they are made for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icm_annealer.builders.built import Built, write_rows
from icm_annealer.builders.opposites import gender_pairs, sun_pairs
from icm_annealer.builders.pairs import mirror
from icm_annealer.builders.preferences import preferences
from icm_annealer.builders.truthfulqa import claims, preference_pairs
from icm_annealer.data.examples import consistency_of, labels_of, load_examples
from icm_annealer.data.task import load_task
from icm_annealer.sources.row import Row
from icm_client import RequestError

MISCONCEPTIONS: list[dict[str, Any]] = [
    {
        "Question": f"What happens if you keep {thing}?",
        "Best Answer": "Nothing much",
        "Correct Answers": f"Nothing much; Nothing much.;  The {thing} stay\n the same; It depends; Ask {thing}!",
        "Incorrect Answers": f"You get rich; It depends; You turn into {thing}; You live for ever?",
    }
    for thing in ("stones", "spoons", "buttons")
]
PREFERENCES: list[dict[str, Any]] = [
    {"instruction": "Say hello.", "input": "", "output_1": "Hello!", "output_2": "No.", "preference": 1},
    {"instruction": "Add.", "input": "2 and 2", "output_1": "5", "output_2": "4", "preference": 2},
    {"prompt": "Say goodbye.", "chosen": "Goodbye!", "rejected": "Whatever."},
    {"instruction": "Sing.", "input": None, "output_1": "La", "output_2": "Lala", "preference": None},
]
POSTS: list[dict[str, Any]] = [
    {
        "id": author,
        "gender": ("male", "Female")[author % 2],
        "text": f"  Post {post}   of\n author {author} " + "x" * 60,
    }
    for author in range(8)
    for post in range(3)
]
POEMS: list[dict[str, Any]] = [
    {"poem": f"The {word} is up,\nline {k}."} for k, word in enumerate(["sun", "moon", "Sun", "sunny bird", "star"] * 2)
]


def rows(values: Sequence[Any]) -> list[Row]:
    return [Row(f"row {number}", value) for number, value in enumerate(values, start=1)]


BUILDERS: dict[str, tuple[str, Callable[[int], Built]]] = {
    "claims": ("truthfulqa", lambda seed: claims(rows(MISCONCEPTIONS), seed)),
    "answers": ("truthfulqa-preference", lambda seed: preference_pairs(rows(MISCONCEPTIONS), seed, 4)),
    "preferences": ("alpaca", lambda seed: preferences(rows(PREFERENCES), seed)),
    "posts": ("gender", lambda seed: gender_pairs(rows(POSTS), seed, 10, 20, 100)),
    "poems": ("poems", lambda seed: sun_pairs(rows(POEMS), seed, 10)),
}


@pytest.mark.parametrize("name", BUILDERS)
def test_rows_depend_on_the_seed_alone_and_fit_their_task(tmp_path: Path, name: str) -> None:
    task_name, build = BUILDERS[name]
    built = build(0)
    assert built == build(0)
    assert any(build(seed) != built for seed in range(1, 6))
    write_rows(tmp_path / "rows.jsonl", built)
    task = load_task(task_name).task
    examples, gold, *_ = load_examples(tmp_path / "rows.jsonl", task)
    assert [example.id for example in examples] == [row["id"] for row in built.rows]
    assert all("label" not in example.fields for example in examples)
    labels = labels_of(examples, gold, task)
    assert set(labels.tolist()) >= {0, 1}
    assert consistency_of(task, examples).num_contradictions(labels) == 0
    if task.leave_out == "group":
        assert set(Counter(example.group for example in examples).values()) == {2}
        for first, second in zip(built.rows[::2], built.rows[1::2], strict=True):
            check_mirror(first, second)


def check_mirror(first: dict[str, Any], second: dict[str, Any]) -> None:
    assert (first["choice"], first["choice_2"]) == (second["choice_2"], second["choice"])
    assert first["consistency_id"] == second["consistency_id"]
    assert first.get("question") == second.get("question")
    if "label" in first:
        assert {first["label"], second["label"]} == {True, False}
    else:
        assert "label" not in second


@pytest.mark.parametrize("name", sorted(set(BUILDERS) - {"claims"}))
def test_the_order_of_a_pair_tells_nothing(name: str) -> None:
    firsts = [row["label"] for seed in range(20) for row in BUILDERS[name][1](seed).rows[::2] if "label" in row]
    assert 0.3 < sum(firsts) / len(firsts) < 0.7


def test_claims_come_from_either_list() -> None:
    built = claims(rows(MISCONCEPTIONS), 0)
    assert built.notes == []
    assert len(built.rows) == 12
    for row in built.rows:
        correct = {"Nothing much.", row["choice"] if "stay the same." in row["choice"] else "", "Ask stones!"}
        correct |= {"Ask spoons!", "Ask buttons!"}
        assert row["label"] == (row["choice"] in correct)
        assert row["choice"] != "It depends."  # stands in both lists
    assert [row["consistency_id"] for row in built.rows] == [0] * 4 + [1] * 4 + [2] * 4


def test_a_questions_claims_do_not_depend_on_the_others() -> None:
    short = {"Question": "Why?", "Correct Answers": "Because", "Incorrect Answers": "No; Never"}
    whole = claims(rows([MISCONCEPTIONS[0], short, MISCONCEPTIONS[1]]), 3)
    assert whole.rows[:4] == claims(rows(MISCONCEPTIONS[:1]), 3).rows
    assert [row["id"] for row in whole.rows[4:]] == [f"truthfulqa-0002-{k}" for k in range(4)]
    assert whole.notes == ["1 questions with fewer than 4 different answers left out"]


def test_pairs_of_answers_are_one_of_each() -> None:
    built = preference_pairs(rows(MISCONCEPTIONS), 0, 5)
    assert len(built.rows) == 3 * 5 * 2
    wrong = ("You get rich.", "You turn into", "You live for ever?")
    for row in built.rows:
        assert row["label"] == row["choice_2"].startswith(wrong)
        assert row["label"] != row["choice"].startswith(wrong)


def test_preferences_are_kept() -> None:
    built = preferences(rows(PREFERENCES), 0)
    better = {row["choice"] for row in built.rows if row.get("label")}
    assert better == {"Hello!", "4", "Goodbye!"}
    assert built.rows[2]["question"] == "Add.\n\n2 and 2"
    assert [row["id"] for row in built.rows[-2:]] == ["alpaca-00003-a", "alpaca-00003-b"]
    assert all("label" not in row for row in built.rows[-2:])


def test_posts_are_one_an_author_and_clean() -> None:
    built = gender_pairs(rows(POSTS), 0, 10, 20, 100)
    assert len(built.rows) == 8
    texts = [row["choice"] for row in built.rows]
    authors = [int(text.split()[4]) for text in texts]
    assert sorted(authors) == list(range(8))
    assert all("  " not in text and "\n" not in text for text in texts)
    assert all(row["label"] == (int(row["choice"].split()[4]) % 2 == 0) for row in built.rows)
    assert gender_pairs(rows(POSTS), 0, 2, 20, 100).rows == built.rows[:4]
    assert gender_pairs(rows(POSTS), 0, 2, 20, 30) == Built(
        [], ["0 men's and 0 women's posts of 20 to 30 characters found"]
    )


def test_each_of_an_authors_posts_may_be_drawn() -> None:
    drawn = Counter(
        row["choice"].split()[1] for seed in range(100) for row in gender_pairs(rows(POSTS), seed, 10, 20, 100).rows
    )
    assert all(0.28 < drawn[post] / drawn.total() < 0.39 for post in "012")


def test_poems_with_the_word_win() -> None:
    built = sun_pairs(rows(POEMS), 0, 10)
    assert built.notes == ['4 poems with the word "sun" and 6 without found']
    assert len(built.rows) == 8
    assert all(row["label"] == row["choice"].lower().startswith("the sun is") for row in built.rows)


@pytest.mark.parametrize(
    ("build", "value", "says"),
    [
        (lambda r: claims(r, 0), {"Question": "Why?", "Correct Answers": "So"}, "Incorrect Answers is missing"),
        (lambda r: claims(r, 0), ["Why?"], "must be an object, not list"),
        (lambda r: claims(r, 0), {"Question": 3, "Correct Answers": "a", "Incorrect Answers": "b"}, "not a text"),
        (lambda r: preferences(r, 0), {"instruction": "Do.", "output_1": "a"}, "output_2 is missing"),
        (lambda r: preferences(r, 0), {"prompt": "Do.", "chosen": "a", "rejected": [1]}, "rejected is not a text"),
        (lambda r: preferences(r, 0), {**PREFERENCES[0], "preference": 0}, "preference is 0, neither 1 nor 2"),
        (lambda r: gender_pairs(r, 0, 1, 1, 9), {"gender": "unknown", "text": "x"}, "gender is 'unknown'"),
        (lambda r: gender_pairs(r, 0, 1, 1, 9), {"sex": "male", "text": "x"}, "gender is missing"),
        (lambda r: sun_pairs(r, 0, 1), {"lines": "x"}, r"poem or text is missing \(there are: lines\)"),
    ],
)
def test_a_broken_row_is_named(build: Callable[[list[Row]], Built], value: Any, says: str) -> None:
    with pytest.raises(RequestError, match=f"^row 1: .*{says}"):
        build(rows([value]))


def mirrored(values: Sequence[Any], gold: str | None = None) -> Built:
    return mirror(rows(values), ("choice", "choice_2"), gold, "consistency_id", "id")


TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)


@given(st.lists(st.tuples(TEXT, TEXT, st.sampled_from([True, False, None])), unique_by=lambda t: frozenset(t[:2])))
def test_mirrors_are_opposites(pairs: list[tuple[str, str, bool | None]]) -> None:
    given_rows = [
        {"id": f"p{k}", "topic": "t", "choice": a, "choice_2": b, "label": label}
        for k, (a, b, label) in enumerate(pairs)
    ]
    out = mirrored(given_rows).rows
    assert [row | {"consistency_id": k} for k, row in enumerate(given_rows)] == out[::2]
    for first, second in zip(out[::2], out[1::2], strict=True):
        assert (second["choice"], second["choice_2"]) == (first["choice_2"], first["choice"])
        assert second["id"] == first["id"] + "-mirror"
        assert second["consistency_id"] == first["consistency_id"]
        assert second["label"] is (None if first["label"] is None else not first["label"])


@pytest.mark.parametrize(
    ("values", "opposites"),
    [
        ([1, 0], [0, 1]),
        ([1], [0]),
        (["True"], ["False"]),
        (["1", "0", None], ["0", "1", None]),
        (["A", "B", "A"], ["B", "A", "B"]),
        ([1, 2], [2, 1]),
        ([True, 0], [False, 1]),
    ],
)
def test_what_the_opposite_of_gold_is(values: list[Any], opposites: list[Any]) -> None:
    built = mirrored([{"choice": f"a{k}", "choice_2": "b", "label": value} for k, value in enumerate(values)])
    found = [row["label"] for row in built.rows[1::2]]
    assert found == opposites
    assert [type(value) for value in found] == [type(value) for value in opposites]


def test_rows_without_ids_or_gold() -> None:
    built = mirrored([{"choice": "a", "choice_2": "b"}])
    assert built.rows == [
        {"choice": "a", "choice_2": "b", "id": 0, "consistency_id": 0},
        {"choice": "b", "choice_2": "a", "id": "0-mirror", "consistency_id": 0},
    ]
    assert built.notes == ["1 pair has no 'label'"]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ([{"choice": "a"}], "row 1: the field choice_2 is missing"),
        ([{"choice": "a", "choice_2": "b"}, {"choice": "b", "choice_2": "a"}], "row 2: is the mirror of row 1"),
        ([{"choice": "a", "choice_2": "b", "label": "A"}], "'label' has 1 different values"),
        ([{"choice": c, "choice_2": "b", "label": c} for c in "xyz"], "'label' has 3 different values"),
        ([{"choice": "a", "choice_2": "b", "label": [1]}], "row 1: 'label' is not a plain value"),
    ],
)
def test_what_cannot_be_mirrored(values: list[Any], says: str) -> None:
    with pytest.raises(RequestError, match=says):
        mirrored(values)


def test_gold_under_another_name_is_not_copied_into_mirror_images() -> None:
    for wins in ([True, False, True], ["L", "R", "L"]):
        values = [{"choice": f"a{k}", "choice_2": "b", "wins": value} for k, value in enumerate(wins)]
        with pytest.raises(RequestError, match=r"'wins' has two values, .*: say --gold wins, or --gold none"):
            mirrored(values)
        assert [row["wins"] for row in mirrored(values, "wins").rows[:2]] == [wins[0], wins[1]]
        assert [row["wins"] for row in mirrored(values, "none").rows[:2]] == [wins[0], wins[0]]
        with pytest.raises(RequestError, match=r"--gold: no row has the field 'winz' \(there are: choice, choice_2"):
            mirrored(values, "winz")


def test_the_same_pair_about_another_question_is_no_mirror() -> None:
    values = [{"question": q, "choice": a, "choice_2": b} for q, a, b in (("x", "a", "b"), ("y", "b", "a"))]
    assert len(mirrored(values).rows) == 4


def test_nothing_to_write_is_reported(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"nothing to write to .*rows.jsonl: 3 left out"):
        write_rows(tmp_path / "rows.jsonl", Built([], ["3 left out"]))
    assert list(tmp_path.iterdir()) == []
