"""The data of the task `support`: even and varied, and the labels' words alone do not give the labels away."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Sequence

from icm_annealer.data.examples import Example, load_examples
from icm_annealer.data.task import load_task

LOADED = load_task("support")
INTENTS = LOADED.task.label_names
EXAMPLES, GOLD, *_ = load_examples(LOADED.path.with_name("data.jsonl"), LOADED.task)
MIXED, MIXED_GOLD, *_ = load_examples(LOADED.path.with_name("mixed.jsonl"), LOADED.task)

LABEL_WORDS = {
    "card": r"\bcards?\b",
    "payment": r"\bpayments?\b",
    "transfer": r"\btransfer(s|red|ring)?\b",
    "currency": r"\bcurrenc(y|ies)\b",
    "password": r"\bpasswords?\b",
    "fees": r"\bfees?\b",
    "cash": r"\bcash\b",
    "loan": r"\bloans?\b",
}
"""Intent -> the forms of its label's word."""
MAX_SHARED = 0.7


def questions(examples: Sequence[Example]) -> list[str]:
    return [example.fields["question"] for example in examples]


def words(question: str) -> frozenset[str]:
    return frozenset(re.findall(r"[a-z0-9']+", question.lower()))


def with_word(intent: str) -> Counter[str]:
    """Intent -> the number of its questions that contain the word of the label `intent`."""
    form = re.compile(LABEL_WORDS[intent], re.IGNORECASE)
    return Counter(GOLD[each.id] for each in EXAMPLES if form.search(each.fields["question"]))


def test_intents_are_even_and_shuffled() -> None:
    assert Counter(GOLD.values()) == dict.fromkeys(INTENTS, 60)
    assert {GOLD[example.id] for example in EXAMPLES[:60]} == set(INTENTS)


def test_questions_have_four_to_twenty_five_words() -> None:
    assert {len(question.split()) for question in questions([*EXAMPLES, *MIXED])} == set(range(4, 26))


def test_no_two_questions_share_most_of_their_words() -> None:
    bags = [(words(question), question) for question in {*questions(EXAMPLES), *questions(MIXED)}]
    alike = [
        (first, second)
        for (a, first), (b, second) in itertools.combinations(bags, 2)
        if len(a & b) > MAX_SHARED * len(a | b)
    ]
    assert alike == []


def test_at_most_half_of_an_intents_questions_contain_its_word() -> None:
    counts = {intent: with_word(intent)[intent] for intent in INTENTS}
    assert all(1 <= count <= 30 for count in counts.values()), counts


def test_every_labels_word_occurs_in_other_intents_too() -> None:
    counts = {intent: with_word(intent) for intent in INTENTS}
    assert all(set(found) - {intent} for intent, found in counts.items()), counts


def test_half_of_the_mixed_file_has_no_intent() -> None:
    assert Counter(example.fields["kind"] for example in MIXED) == {"support": 64, "normative": 64}
    assert Counter(MIXED_GOLD.values()) == dict.fromkeys(INTENTS, 8)
    assert {example.id for example in MIXED if example.fields["kind"] == "support"} == set(MIXED_GOLD)


def test_the_support_questions_of_the_mixed_file_are_the_tasks() -> None:
    texts = {example.id: example.text for example in EXAMPLES}
    for example in MIXED:
        if example.fields["kind"] == "support":
            assert example.text == texts[example.id]
            assert MIXED_GOLD[example.id] == GOLD[example.id]
        else:
            assert example.id not in texts


def test_length_does_not_tell_the_halves_of_the_mixed_file_apart() -> None:
    means = {
        kind: sum(len(example.fields["question"].split()) for example in MIXED if example.fields["kind"] == kind) / 64
        for kind in ("support", "normative")
    }
    assert abs(means["support"] - means["normative"]) < 1, means
