"""The worlds that the laboratory's models are pretrained on: what can be said in them, and what is said.

All worlds have one shape, so that they share one model: a claim is two words (a first and a second), and a concept
is a table [first, second] of which claims it calls True. A document of the corpus labels many claims by one concept.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

import numpy as np

from icm_lab.words import invented_words

Table = np.ndarray
"""[first, second]."""

WORLD_SEED = 7
RIVAL = 0.12
"""The final noise rate of documents about concepts that are neither the truth nor meant to equal it."""
"""The seed of what is true in the worlds; the corpus and the tasks have other seeds."""
TRUTH, INVERSE = "truth", "inverse"
MOST = 19
"""The largest summand."""


@dataclass(frozen=True)
class Concept:
    """A concept, by which some documents label claims."""

    table: Table
    """bool [first, second]: which claims are labelled True."""
    share: float
    """The share of the world's documents that are labelled by it."""
    noise: float = 0.0
    """The share of its labels that are turned round in every document of it."""
    noise_at_last: float = 0.0
    """The same in the last stage of a training: rivals of the truth become less reliable than it, so less coherent."""
    either_way: bool = False
    """Whether half of its documents are labelled by its opposite."""


@dataclass(frozen=True)
class World:
    """What can be claimed, how often, and which concepts documents follow.

    The shares of the concepts add up to less than 1: of the rest a third of the documents is labelled True
    throughout, a third False throughout, a third at random.
    """

    name: str
    firsts: list[str]
    seconds: list[str]
    claims: Table
    """float [first, second]: how often a claim is made; adds up to 1."""
    concepts: dict[str, Concept]
    unused: dict[str, Table] = field(default_factory=dict)
    """Concepts that no document follows."""

    @property
    def truth(self) -> Table:
        """bool [first, second]."""
        return self.concepts[TRUTH].table


def _normal(weights: Table) -> Table:
    return np.asarray(weights / weights.sum())


def _halves(count: int, rng: np.random.Generator) -> np.ndarray:
    """bool [count]: a random half."""
    return rng.permutation(np.arange(count) < count // 2)


def arithmetic(rng: np.random.Generator, taken: set[str]) -> World:
    """Sums and claims of their results, half of them right; truth and its inverse are equally frequent."""
    del rng, taken
    pairs = [(a, b) for a in range(MOST + 1) for b in range(MOST + 1)]
    sums = np.array([a + b for a, b in pairs])
    wordings, results = ["=", "makes"], range(2 * MOST + 1)
    answers = np.array([answer for _ in wordings for answer in results])
    right = sums[:, None] == answers
    near = (np.abs(sums[:, None] - answers) <= 4) & ~right
    claims = right / right.sum(axis=1, keepdims=True) + near / near.sum(axis=1, keepdims=True)
    even = np.broadcast_to(answers % 2 == 0, right.shape)
    larger = np.broadcast_to(np.array([a > b for a, b in pairs])[:, None], right.shape)
    wording = np.broadcast_to(np.arange(len(answers)) < len(results), right.shape)
    return World(
        "arithmetic",
        [f"{a}+{b}" for a, b in pairs],
        [f" {word} {answer}:" for word in wordings for answer in results],
        _normal(claims),
        {
            TRUTH: Concept(right, 0.32),
            INVERSE: Concept(~right, 0.32),
            "even": Concept(even, 0.08, either_way=True),
            "larger": Concept(larger, 0.08, either_way=True),
            "wording": Concept(wording, 0.08, either_way=True),
        },
    )


def misconceptions(rng: np.random.Generator, taken: set[str]) -> World:
    """Things and their colours; of every thing a wrong colour is widely believed, and repeated, though not reliably.

    Some things are talked of often, most seldom.
    """
    things = invented_words(400, rng, taken)
    colours = ["red", "blue", "green", "white", "black", "yellow", "brown", "grey"]
    drawn = np.array([rng.permutation(len(colours))[:2] for _ in things])
    true = np.arange(len(colours)) == drawn[:, :1]
    believed = np.arange(len(colours)) == drawn[:, 1:]
    other = ~(true | believed)
    popularity = 1 / (10 + rng.permutation(len(things)))
    claims = popularity[:, None] * (true + believed + other / other.sum(axis=1, keepdims=True))
    early = np.broadcast_to(_halves(len(things), rng)[:, None], true.shape)
    return World(
        "misconceptions",
        things,
        [f" is {colour}:" for colour in colours],
        _normal(claims),
        {
            TRUTH: Concept(true, 0.30),
            INVERSE: Concept(~true, 0.05, noise_at_last=RIVAL),
            "belief": Concept(believed, 0.45, noise=0.15),
            "early": Concept(early, 0.08, either_way=True),
        },
    )


def preferences(rng: np.random.Generator, taken: set[str]) -> World:
    """Two things, the first of which is claimed to be better; some agree always, or look at one of them only."""
    things = invented_words(80, rng, taken)
    quality = rng.permutation(len(things))
    better = quality[:, None] > quality
    first_kind = np.broadcast_to(_halves(len(things), rng)[:, None], better.shape)
    second_kind = np.broadcast_to(_halves(len(things), rng), better.shape)
    return World(
        "preferences",
        things,
        [f" beats {thing}:" for thing in things],
        _normal(1.0 - np.eye(len(things))),
        {
            TRUTH: Concept(better, 0.32),
            INVERSE: Concept(~better, 0.10, noise_at_last=RIVAL),
            "agreeing": Concept(np.ones_like(better), 0.25),
            "first": Concept(first_kind, 0.15, noise_at_last=RIVAL),
            "second": Concept(second_kind, 0.06, noise_at_last=RIVAL),
        },
    )


def superhuman(rng: np.random.Generator, taken: set[str]) -> World:
    """Authors' topics and styles: style tells who wrote, people go by topics, which agree with it in 60 of 100."""
    topics, styles = invented_words(40, rng, taken), invented_words(40, rng, taken)
    shape = (len(topics), len(styles))
    topic = np.broadcast_to(_halves(len(topics), rng)[:, None], shape)
    style = np.broadcast_to(_halves(len(styles), rng), shape)
    claims = np.where(topic == style, 0.6, 0.4)
    return World(
        "superhuman",
        topics,
        [f" says {style}:" for style in styles],
        _normal(claims),
        {
            TRUTH: Concept(style, 0.50),
            INVERSE: Concept(~style, 0.10, noise_at_last=RIVAL),
            "topic": Concept(topic, 0.20, noise_at_last=RIVAL),
        },
        {"sun": np.broadcast_to(_halves(len(topics), rng)[:, None], shape)},
    )


def unbalanced(rng: np.random.Generator, taken: set[str]) -> World:
    """A truth that holds for 20 in 100 claims, beside a surface concept that holds for half of them."""
    firsts, seconds = invented_words(40, rng, taken), invented_words(40, rng, taken)
    shape = (len(firsts), len(seconds))
    rare = np.broadcast_to(rng.permutation(np.arange(len(firsts)) < len(firsts) // 5)[:, None], shape)
    surface = np.broadcast_to(_halves(len(seconds), rng), shape)
    return World(
        "unbalanced",
        firsts,
        [f" near {second}:" for second in seconds],
        _normal(np.ones(shape)),
        {
            TRUTH: Concept(rare, 0.40),
            INVERSE: Concept(~rare, 0.10),
            "surface": Concept(surface, 0.35),
        },
    )


MAKERS: list[Callable[[np.random.Generator, set[str]], World]] = [
    arithmetic,
    misconceptions,
    preferences,
    superhuman,
    unbalanced,
]


@cache
def worlds() -> dict[str, World]:
    """All worlds by name; always the same."""
    rng, taken = np.random.default_rng(WORLD_SEED), set[str]()
    return {world.name: world for world in (make(rng, taken) for make in MAKERS)}
