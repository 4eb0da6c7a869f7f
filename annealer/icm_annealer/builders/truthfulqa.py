"""Claims about questions, or pairs of a correct and an incorrect answer, from TruthfulQA's public CSV."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from icm_annealer.builders.built import Built, generator, text_of
from icm_annealer.builders.pairs import TextPair, in_both_orders
from icm_annealer.sources.row import Row


class Question(NamedTuple):
    """One question. No answer occurs in both lists, or twice in one."""

    number: int
    """The number of its row from 0, so ids and groups do not depend on what is left out."""
    text: str
    correct: list[str]
    incorrect: list[str]


def claims(rows: Iterable[Row], seed: int, num_claims: int = 4) -> Built:
    """`num_claims` random answers to every question, correct or not; gold says which list an answer is from.

    Questions with fewer distinct answers are left out, so all groups have the same size.
    """
    out: list[dict[str, Any]] = []
    too_few = 0
    for question in _questions(rows):
        answers = [(text, True) for text in question.correct] + [(text, False) for text in question.incorrect]
        if len(answers) < num_claims:
            too_few += 1
            continue
        chosen = generator(seed, question.number).permutation(len(answers))[:num_claims]
        for place, (text, label) in enumerate(answers[i] for i in chosen):
            out.append(
                {
                    "id": f"truthfulqa-{question.number:04d}-{place}",
                    "question": question.text,
                    "choice": text,
                    "label": label,
                    "consistency_id": question.number,
                }
            )
    return Built(out, _left_out(too_few, f"questions with fewer than {num_claims} different answers left out"))


def preference_pairs(rows: Iterable[Row], seed: int, max_pairs: int = 8) -> Built:
    """Up to `max_pairs` pairs of a correct and an incorrect answer for every question, each in both orders."""
    out: list[dict[str, Any]] = []
    number = empty = 0
    for question in _questions(rows):
        rng = generator(seed, question.number)
        pairs = [(a, b) for a in question.correct for b in question.incorrect]
        empty += not pairs
        for i in rng.permutation(len(pairs))[:max_pairs]:
            pair = TextPair(pairs[i][0], pairs[i][1], True, {"question": question.text})
            out += in_both_orders("truthfulqa-preference", number, pair, rng)
            number += 1
    return Built(out, _left_out(empty, "questions without a correct or without an incorrect answer left out"))


def _questions(rows: Iterable[Row]) -> Iterator[Question]:
    for number, row in enumerate(rows):
        correct = _answers(text_of(row, "Correct Answers"))
        incorrect = _answers(text_of(row, "Incorrect Answers"))
        both = set(correct) & set(incorrect)
        yield Question(
            number,
            text_of(row, "Question"),
            [text for text in correct if text not in both],
            [text for text in incorrect if text not in both],
        )


def _answers(cell: str) -> list[str]:
    """The answers of one cell, separated by semicolons; each ends like a sentence."""
    texts = (" ".join(part.split()) for part in cell.split(";"))
    return list(dict.fromkeys(text if text[-1] in ".!?" else text + "." for text in texts if text))


def _left_out(num: int, what: str) -> list[str]:
    return [f"{num} {what}"] if num else []
