"""The worlds are what their descriptions say, and documents are labelled by the concepts that they follow."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from icm_lab.corpus import Mix, draw_claims, draw_documents, label_positions
from icm_lab.vocabulary import FALSE, SEPARATOR, TRUE, token_ids, tokens, world_ids
from icm_lab.worlds import INVERSE, TRUTH, World, worlds

WORLDS = pytest.mark.parametrize("world", worlds().values(), ids=list(worlds()))


def share(world: World, table: np.ndarray) -> float:
    """How often a claim is made that is True in `table`."""
    return float((world.claims * table).sum())


@WORLDS
def test_a_world_is_whole(world: World) -> None:
    shape = (len(world.firsts), len(world.seconds))
    assert world.claims.shape == shape
    assert world.claims.sum() == pytest.approx(1)
    assert all(concept.table.shape == shape for concept in world.concepts.values())
    assert sum(concept.share for concept in world.concepts.values()) < 1
    assert (world.concepts[INVERSE].table == ~world.truth).all()


def test_arithmetic_is_true() -> None:
    world = worlds()["arithmetic"]
    for first, row in zip(world.firsts, world.truth, strict=True):
        a, b = first.split("+")
        assert {second.split()[1] for second, true in zip(world.seconds, row, strict=True) if true} == {
            f"{int(a) + int(b)}:"
        }
    assert share(world, world.truth) == pytest.approx(0.5)
    assert world.concepts[TRUTH].share == world.concepts[INVERSE].share


def test_what_is_believed_is_wrong_and_repeated_more_often() -> None:
    world = worlds()["misconceptions"]
    believed = world.concepts["belief"]
    assert not (believed.table & world.truth).any()
    assert (believed.table.sum(axis=1) == 1).all()
    assert (world.truth.sum(axis=1) == 1).all()
    assert believed.share > world.concepts[TRUTH].share


def test_preferences_are_one_order_of_all_things() -> None:
    world = worlds()["preferences"]
    off_diagonal = ~np.eye(len(world.firsts), dtype=bool)
    assert (world.truth ^ world.truth.T)[off_diagonal].all()
    assert sorted(world.truth.sum(axis=1)) == list(range(len(world.firsts)))


def test_people_are_right_in_60_of_100() -> None:
    world = worlds()["superhuman"]
    assert share(world, world.concepts["topic"].table == world.truth) == pytest.approx(0.6)


def test_truth_is_rare_and_the_surface_balanced() -> None:
    world = worlds()["unbalanced"]
    assert share(world, world.truth) == pytest.approx(0.2)
    assert share(world, world.concepts["surface"].table) == pytest.approx(0.5)


def test_no_word_is_in_two_worlds() -> None:
    words = [word for world in worlds().values() for word in (*world.firsts, *world.seconds)]
    assert len(set(words)) == len(words) == len(tokens()) - 5


@WORLDS
def test_documents_of_truth_alone_are_true(world: World) -> None:
    documents = draw_documents(world, 8, Mix(0.0, 5, noisy=False), np.random.default_rng(0))
    ids, words = token_ids(), world_ids(world.name)
    for row, labels in zip(documents.ids, documents.labels, strict=True):
        shots = np.append(ids[SEPARATOR], row).reshape(-1, 4)
        assert (shots[:, 0] == ids[SEPARATOR]).all()
        assert (row[label_positions(5)] == np.where(labels, ids[TRUE], ids[FALSE])).all()
        for _, first, second, label in shots:
            true = world.truth[list(words.firsts).index(first), list(words.seconds).index(second)]
            assert label == ids[TRUE if true else FALSE]


@WORLDS
def test_an_even_mix_follows_the_shares(world: World) -> None:
    """Each concept explains about its share of the documents, those of either way both ways."""
    count, shots = 3000, 40
    documents = draw_documents(world, count, Mix(1.0, shots, noisy=False), np.random.default_rng(1))
    words = world_ids(world.name)
    tokens_ = np.concatenate([np.zeros((count, 1), dtype=int), documents.ids], axis=1).reshape(count, shots, 4)
    first = np.searchsorted(words.firsts, tokens_[..., 1], sorter=np.argsort(words.firsts))
    first = np.argsort(words.firsts)[first]
    second = np.argsort(words.seconds)[
        np.searchsorted(words.seconds, tokens_[..., 2], sorter=np.argsort(words.seconds))
    ]
    constant = (1 - sum(concept.share for concept in world.concepts.values())) / 3
    for name, concept in world.concepts.items():
        if not concept.noise:
            agreement = (concept.table[first, second] == documents.labels).mean(axis=1)
            found = (agreement == 1).mean() + concept.either_way * (agreement == 0).mean()
            assert found == pytest.approx(concept.share + constant * (name == "agreeing"), abs=0.035)


@given(st.integers(0, 2**32 - 1))
def test_claims_that_are_not_made_are_not_drawn(seed: int) -> None:
    for world in worlds().values():
        first, second = draw_claims(world, (50,), np.random.default_rng(seed))
        assert (world.claims[first, second] > 0).all()
