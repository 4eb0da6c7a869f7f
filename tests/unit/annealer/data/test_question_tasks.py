"""The data of the tasks `support` and `bank`: even and varied, and no label's word gives its label away."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pytest

from icm_annealer.data.examples import Example, load_examples
from icm_annealer.data.task import load_task


@dataclass(frozen=True)
class QuestionTask:
    """A built-in task of questions, 60 of each intent."""

    name: str
    label_words: Mapping[str, str]
    """Intent -> the forms of its label's word."""
    num_words: range
    """The numbers of words in a question, all of which occur."""

    def load(self) -> tuple[Sequence[Example], Mapping[str, str]]:
        """The examples, and id -> intent."""
        loaded = load_task(self.name)
        examples, gold, *_ = load_examples(loaded.path.with_name("data.jsonl"), loaded.task)
        return examples, gold


SUPPORT = QuestionTask(
    name="support",
    label_words={
        "card": r"\bcards?\b",
        "payment": r"\bpayments?\b",
        "transfer": r"\btransfer(s|red|ring)?\b",
        "currency": r"\bcurrenc(y|ies)\b",
        "password": r"\bpasswords?\b",
        "fees": r"\bfees?\b",
        "cash": r"\bcash\b",
        "loan": r"\bloans?\b",
    },
    num_words=range(4, 26),
)
BANK = QuestionTask(
    name="bank",
    label_words={
        "exchange": r"\bconver(t(s|ed|ing)?|sions?)\b",
        "password": r"\bpasswords?\b",
        "refund": r"\breturn(s|ed|ing)?\b",
        "children": r"\bchild(ren)?s?\b",
        "shares": r"\bstocks?\b",
        "insurance": r"\binsurances?\b",
        "phone": r"\bphones?\b",
        "hours": r"\bhours?\b",
    },
    num_words=range(4, 23),
)
BOTH = pytest.mark.parametrize("task", [SUPPORT, BANK], ids=lambda task: task.name)

MIXED_TASK = load_task("support")
MIXED, MIXED_GOLD, *_ = load_examples(MIXED_TASK.path.with_name("mixed.jsonl"), MIXED_TASK.task)
MAX_SHARED = 0.7


def questions(examples: Sequence[Example]) -> list[str]:
    return [example.fields["question"] for example in examples]


def words(question: str) -> frozenset[str]:
    return frozenset(re.findall(r"[a-z0-9']+", question.lower()))


def intents_with_word(task: QuestionTask) -> dict[str, Counter[str]]:
    """Intent -> how many questions of every intent contain the word of its label."""
    examples, gold = task.load()
    return {
        intent: Counter(gold[each.id] for each in examples if re.search(form, each.fields["question"], re.IGNORECASE))
        for intent, form in task.label_words.items()
    }


def alike(texts: Sequence[str]) -> list[tuple[str, str]]:
    """The pairs that share more than MAX_SHARED of their words."""
    bags = [(words(text), text) for text in texts]
    return [
        (first, second)
        for (a, first), (b, second) in itertools.combinations(bags, 2)
        if len(a & b) > MAX_SHARED * len(a | b)
    ]


@BOTH
def test_intents_are_even_and_shuffled(task: QuestionTask) -> None:
    examples, gold = task.load()
    assert set(load_task(task.name).task.label_names) == set(task.label_words)
    assert Counter(gold.values()) == dict.fromkeys(task.label_words, 60)
    assert {gold[example.id] for example in examples[:60]} == set(task.label_words)


@BOTH
def test_questions_have_all_lengths_of_the_range(task: QuestionTask) -> None:
    examples, _ = task.load()
    assert {len(question.split()) for question in questions(examples)} == set(task.num_words)


@BOTH
def test_no_two_questions_share_most_of_their_words(task: QuestionTask) -> None:
    examples, _ = task.load()
    assert alike(questions(examples)) == []


@BOTH
def test_at_most_half_of_an_intents_questions_contain_its_word(task: QuestionTask) -> None:
    counts = {intent: found[intent] for intent, found in intents_with_word(task).items()}
    assert all(1 <= count <= 30 for count in counts.values()), counts


def test_every_label_word_of_support_occurs_in_other_intents_too() -> None:
    counts = intents_with_word(SUPPORT)
    assert all(set(found) - {intent} for intent, found in counts.items()), counts


def test_label_words_of_bank_hardly_occur_in_other_intents() -> None:
    counts = intents_with_word(BANK)
    assert all(found.total() - found[intent] <= 2 for intent, found in counts.items()), counts


def test_half_of_the_mixed_file_has_no_intent() -> None:
    assert Counter(example.fields["kind"] for example in MIXED) == {"support": 64, "normative": 64}
    assert Counter(MIXED_GOLD.values()) == dict.fromkeys(SUPPORT.label_words, 8)
    assert {example.id for example in MIXED if example.fields["kind"] == "support"} == set(MIXED_GOLD)


def test_the_support_questions_of_the_mixed_file_are_the_tasks() -> None:
    examples, gold = SUPPORT.load()
    texts = {example.id: example.text for example in examples}
    for example in MIXED:
        if example.fields["kind"] == "support":
            assert example.text == texts[example.id]
            assert MIXED_GOLD[example.id] == gold[example.id]
        else:
            assert example.id not in texts


def test_questions_of_the_mixed_file_are_as_long_and_as_different_as_the_tasks() -> None:
    assert {len(question.split()) for question in questions(MIXED)} <= set(SUPPORT.num_words)
    assert alike(sorted({*questions(SUPPORT.load()[0]), *questions(MIXED)})) == []


def test_length_does_not_tell_the_halves_of_the_mixed_file_apart() -> None:
    means = {
        kind: sum(len(example.fields["question"].split()) for example in MIXED if example.fields["kind"] == kind) / 64
        for kind in ("support", "normative")
    }
    assert abs(means["support"] - means["normative"]) < 1, means
