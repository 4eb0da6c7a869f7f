"""Invented words, so that a model cannot have learnt about them from other text. A leaf."""

from __future__ import annotations

import numpy as np

CONSONANTS, VOWELS, ENDS = "bdfgklmnprstvz", "aeiou", "lmnrst"


def invented_words(count: int, rng: np.random.Generator, taken: set[str]) -> list[str]:
    """`count` different words such as "bakun", none of them in `taken`, which they are added to."""
    words: list[str] = []
    while len(words) < count:
        parts = [CONSONANTS, VOWELS, CONSONANTS, VOWELS, ENDS]
        word = "".join(part[rng.integers(len(part))] for part in parts)
        if word not in taken:
            taken.add(word)
            words.append(word)
    return words
