"""Label tries: few reads, and log-probabilities that add up."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from icm_client.contract.label_trie import MAX_READ_IDS, LabelTrie, TrieRead


def test_single_tokens_are_one_read() -> None:
    trie = LabelTrie([[(7,)], [(9,)]])
    assert trie.reads == [TrieRead((), (7, 9))]
    assert trie.max_path == 0
    assert trie.logprobs({trie.reads[0]: [-1.0, -2.0]}) == [-1.0, -2.0]


def test_longer_labels_are_read_at_each_inner_node_once() -> None:
    trie = LabelTrie([[(1, 2)], [(1, 3)], [(4,)]])
    assert trie.reads == [TrieRead((), (1, 4)), TrieRead((1,), (2, 3))]
    assert trie.max_path == 1
    answers = {trie.reads[0]: [-1.0, -2.0], trie.reads[1]: [-0.25, -0.5]}
    assert trie.logprobs(answers) == [-1.25, -1.5, -2.0]


def test_aliases_are_added_as_probabilities() -> None:
    trie = LabelTrie([[(1,), (2,)], [(3,)]])
    (read,) = trie.reads
    found = trie.logprobs({read: [math.log(0.25), math.log(0.5), math.log(0.125)]})
    assert found == pytest.approx([math.log(0.75), math.log(0.125)])


def test_many_labels_are_split_into_reads_of_the_engines_limit() -> None:
    trie = LabelTrie([[(k,)] for k in range(2 * MAX_READ_IDS + 1)])
    assert [len(read.ids) for read in trie.reads] == [MAX_READ_IDS, MAX_READ_IDS, 1]
    answers = {read: [-float(k) for k in read.ids] for read in trie.reads}
    assert trie.logprobs(answers) == [-float(k) for k in range(2 * MAX_READ_IDS + 1)]


@given(st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=12, unique=True))
def test_the_labels_of_a_language_model_have_its_probabilities(words: list[str]) -> None:
    """A model over letters and an end: labels ended by it are whole words, whose probabilities are products."""

    def logprob(path: tuple[int, ...], token: int) -> float:
        weights = [1 + (31 * len(path) + 7 * sum(path) + 3 * other) % 5 for other in range(4)]
        return math.log(weights[token] / sum(weights))

    labels = [[(*("abc".index(letter) for letter in word), 3)] for word in words]
    trie = LabelTrie(labels)
    found = trie.logprobs({read: [logprob(read.path, token) for token in read.ids] for read in trie.reads})
    expected = [sum(logprob(label[:k], token) for k, token in enumerate(label)) for (label,) in labels]
    assert found == pytest.approx(expected)
    assert sum(math.exp(value) for value in found) <= 1 + 1e-9
    assert len({read.path for read in trie.reads}) == len(trie.reads)
