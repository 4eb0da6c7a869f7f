"""The final answer of a solution."""

from __future__ import annotations

import json

import pytest
from tests.released import released_file

from icm_annealer.builders.final_answer import final_answer, plain


@pytest.mark.parametrize(
    ("text", "answer", "kept"),
    [
        ("3 x 25 = 75. The answer is 600.", "600", "3 x 25 = 75. The answer is 600."),
        ("So the answer is: **$1,200.50**. Next", "1200.5", "So the answer is: **$1,200.50**."),
        ("#### -5", "-5", "#### -5"),
        ("The answer is -$3.00", "-3", "The answer is -$3.00"),
        ("The answer is 44 hours.\n\nQ: The answer is 7.", "44", "The answer is 44"),
        ("The answer is 5 x 8 = 40. The answer is 40.", "40", "The answer is 5 x 8 = 40. The answer is 40."),
        ("THE ANSWER IS .5%", "0.5", "THE ANSWER IS .5%"),
        ("The answer is 5, or so", "5", "The answer is 5"),
        ("  The answer is 12,345,678\n", "12345678", "The answer is 12,345,678"),
    ],
)
def test_it_is_found_and_what_follows_is_cut_off(text: str, answer: str, kept: str) -> None:
    solution = final_answer(text)
    assert solution is not None
    assert (solution.answer, solution.text) == (answer, kept)


@pytest.mark.parametrize("text", ["", "600", "The answer is", "The answer is ten.", "The answer is 35x - 90.", "= 1/2"])
def test_there_is_none(text: str) -> None:
    assert final_answer(text) is None


@pytest.mark.parametrize(
    ("number", "same"),
    [("26.0", "26"), ("0.50", "0.5"), ("100", "100"), ("-0", "0"), ("007", "7"), ("1000000", "1000000")],
)
def test_numbers_are_plain(number: str, same: str) -> None:
    assert plain(number) == same


def test_released_solutions_are_read_as_the_paper_read_them() -> None:
    rows = json.loads(released_file("gsm8k_verification_test.json").read_text())
    theirs = [final_answer(f"#### {row['answer']}") for row in rows]
    ours = [final_answer(row["cot"]) for row in rows]
    same = [a is not None and b is not None and a.answer == b.answer for a, b in zip(theirs, ours, strict=True)]
    assert sum(same) / len(same) > 0.98  # the others give no number, or went on with a problem of their own
