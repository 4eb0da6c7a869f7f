"""Which of a few hundred texts are most like another one: hashed TF-IDF of words and parts of words. A leaf."""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Sequence

import numpy as np

from icm_annealer.core.arrays import Array, Ints

NUM_FEATURES = 4096
WORD = re.compile(r"\w+")
PART = 4
"""Characters of a part of a word; a word's ends count as characters."""


class SimilarTexts:
    """Texts to be found. Takes 16 KB a text, and some times as much while they are read."""

    def __init__(self, texts: Sequence[str]):
        counts = np.zeros((len(texts), NUM_FEATURES), dtype=np.float32)
        for number, text in enumerate(texts):
            features = _features(text)
            counts[number, list(features)] = list(features.values())
        # What is in every text, such as a template's words, says nothing.
        self._idf: Array = np.log((1 + len(texts)) / (1 + (counts > 0).sum(axis=0))).astype(np.float32)
        vectors = np.log1p(counts) * self._idf
        self._vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)

    def nearest(self, text: str) -> Ints:
        """The numbers of all texts, the most similar one first; equally similar ones in their order."""
        features = _features(text)
        places = np.fromiter(features, dtype=np.int64, count=len(features))
        weights = np.log1p(np.fromiter(features.values(), dtype=np.float64, count=len(features))) * self._idf[places]
        found: Ints = np.argsort(-(self._vectors[:, places] @ weights), kind="stable")
        return found


def _features(text: str) -> Counter[int]:
    """How often the text has each feature, by its number."""
    found: Counter[int] = Counter()
    for word in WORD.findall(text.lower()):
        marked = f"<{word}>"
        found[zlib.crc32(marked.encode()) % NUM_FEATURES] += 1
        for begin in range(len(marked) - PART + 1):
            found[zlib.crc32(marked[begin : begin + PART].encode()) % NUM_FEATURES] += 1
    return found
