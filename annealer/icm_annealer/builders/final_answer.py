"""The final answer of a worked solution, as a number that can be compared. Pure."""

from __future__ import annotations

import decimal
import re
from typing import NamedTuple

MARK = re.compile(r"(?:answer\s+is|####)\s*:?", re.IGNORECASE)
NUMBER = re.compile(
    r"[\s:=*(]{0,6}[$€£]?(-?)[$€£]?\s?((?:\d[\d,]*)?\d(?:\.\d+)?|\.\d+)[%*]{0,3}\.?"
    r"(?!\w|,\d)(?!\s*[-+*/x×÷^=]\s*[\w$(])"  # the start of a term is not an answer
)


class Solution(NamedTuple):
    """A solution up to its final answer, and the answer in plain digits ("1200", "6.5")."""

    text: str
    answer: str


def final_answer(text: str) -> Solution | None:
    """Reads the number after the first "answer is" or "####" that is followed by one; None if there is none.

    The text after the answer is cut off, since models often continue with another problem.
    """
    for mark in MARK.finditer(text):
        number = NUMBER.match(text, mark.end())
        if number:
            digits = number[2].replace(",", "")
            return Solution(text[: number.end()].strip(), plain(number[1] + digits))
    return None


def plain(number: str) -> str:
    """`1200.50` -> `1200.5`, `26.0` -> `26`, `-0` -> `0`."""
    value = decimal.Decimal(number)
    text = format(value, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if value == 0 else text
