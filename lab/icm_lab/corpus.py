"""Documents to pretrain on: many claims of one world, all labelled by one concept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from icm_lab.vocabulary import FALSE, SEPARATOR, TRUE, token_ids, world_ids
from icm_lab.worlds import INVERSE, TRUTH, World, worlds

SHOT_TOKENS = 4
"""The tokens of a shot: separator, first word, second word, label. A document's first shot has no separator."""
NOISY_DOCUMENTS = 0.5
"""The share of documents in which some labels are wrong."""
MOST_NOISE = 0.4


@dataclass(frozen=True)
class Mix:
    """How documents are mixed. With `evenness` 0 all follow the truth, with 1 concepts have their worlds' shares."""

    evenness: float
    num_shots: int
    noisy: bool = True
    is_last: bool = False
    """The last stage, in which concepts have their `noise_at_last`."""


@dataclass(frozen=True)
class Documents:
    """Token ids [document, token] of equally long documents; labels [document, shot], True or not."""

    ids: np.ndarray
    labels: np.ndarray


def label_positions(num_shots: int) -> np.ndarray:
    """The positions of the labels in a document."""
    return np.arange(num_shots) * SHOT_TOKENS + 2


def draw_claims(world: World, shape: tuple[int, ...], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of the first and of the second words, two arrays of `shape`."""
    cumulated = np.cumsum(world.claims.ravel())
    flat = np.minimum(np.searchsorted(cumulated, rng.random(shape), side="right"), cumulated.size - 1)
    first, second = np.unravel_index(flat, world.claims.shape)
    return np.asarray(first), np.asarray(second)


def to_ids(world: World, first: np.ndarray, second: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Token ids [document, token] of claims and labels [document, shot]."""
    ids, words = token_ids(), world_ids(world.name)
    documents, shots = labels.shape
    tokens = np.empty((documents, shots, SHOT_TOKENS), dtype=np.int64)
    tokens[..., 0] = ids[SEPARATOR]
    tokens[..., 1], tokens[..., 2] = words.firsts[first], words.seconds[second]
    tokens[..., 3] = np.where(labels, ids[TRUE], ids[FALSE])
    return tokens.reshape(documents, -1)[:, 1:]


def draw_documents(world: World, count: int, mix: Mix, rng: np.random.Generator) -> Documents:
    """`count` documents of one world."""
    first, second = draw_claims(world, (count, mix.num_shots), rng)
    names = list(world.concepts)
    even = np.array([concept.share for concept in world.concepts.values()])
    even = np.append(even, [(1 - even.sum()) / 3] * 3)  # True throughout, False throughout, at random
    only_truth = np.array([float(name == TRUTH) for name in names] + [0.0] * 3)
    shares = (1 - mix.evenness) * only_truth + mix.evenness * even
    kinds = rng.choice(len(shares), size=count, p=shares / shares.sum())
    chance = rng.random((count, mix.num_shots))
    labels = chance < 0.5
    labels[kinds == len(names)] = True
    labels[kinds == len(names) + 1] = False
    noise = rng.uniform(0, MOST_NOISE, count) * (rng.random(count) < NOISY_DOCUMENTS) * mix.noisy
    for number, concept in enumerate(world.concepts.values()):
        rows = np.flatnonzero(kinds == number)
        turned = concept.either_way & (rng.random((len(rows), 1)) < 0.5)
        least = max(concept.noise, concept.noise_at_last if mix.is_last else 0.0)
        wrong = chance[rows] < np.maximum(noise[rows], least)[:, None]
        labels[rows] = concept.table[first[rows], second[rows]] ^ turned ^ wrong
    return Documents(to_ids(world, first, second, labels), labels)


def draw_batch(count: int, mix: Mix, rng: np.random.Generator) -> Documents:
    """`count` documents, spread over all worlds; arithmetic, the hardest, has twice its share."""
    names = list(worlds())
    shares = np.array([2.0 if name == "arithmetic" else 1.0 for name in names])
    counts = rng.multinomial(count, shares / shares.sum())
    parts = [
        draw_documents(worlds()[name], int(number), mix, rng)
        for name, number in zip(names, counts, strict=True)
        if number
    ]
    return Documents(np.concatenate([part.ids for part in parts]), np.concatenate([part.labels for part in parts]))


def gold_documents(world: World, concept: str, count: int, num_shots: int, rng: np.random.Generator) -> Documents:
    """Documents labelled by one concept without a mistake, to examine a model with."""
    table = ~world.truth if concept == INVERSE else world.concepts[concept].table
    first, second = draw_claims(world, (count, num_shots), rng)
    labels = table[first, second]
    return Documents(to_ids(world, first, second, labels), labels)
