"""Scores labels of any number of tokens with few reads: one for each inner node of the trie of their tokens. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

MAX_READ_IDS = 128
"""The most token ids in one read: vLLM's limit for `logprob_token_ids`."""

TokenPath = tuple[int, ...]


class TrieRead(NamedTuple):
    """One read after a prompt: log p(id | prompt, path) for each of at most MAX_READ_IDS ids."""

    path: TokenPath
    ids: TokenPath


class LabelTrie:
    """`labels[k]` holds label k's token sequences (aliases). No sequence may be the beginning of another one."""

    def __init__(self, labels: Sequence[Sequence[TokenPath]]):
        children: dict[TokenPath, dict[int, None]] = {}
        for sequences in labels:
            for sequence in sequences:
                for depth, token in enumerate(sequence):
                    children.setdefault(sequence[:depth], {})[token] = None
        self.reads = [
            TrieRead(path, tuple(ids)[start : start + MAX_READ_IDS])
            for path, ids in sorted(children.items(), key=lambda node: (len(node[0]), node[0]))
            for start in range(0, len(ids), MAX_READ_IDS)
        ]
        place = {
            (read.path, token): (number, column)
            for number, read in enumerate(self.reads)
            for column, token in enumerate(read.ids)
        }
        self._places = [
            [[place[sequence[:depth], token] for depth, token in enumerate(sequence)] for sequence in sequences]
            for sequences in labels
        ]
        """For each token of each label: its read, and its column in the read's answer."""
        self.max_path = max(len(read.path) for read in self.reads)
        """The most tokens that a read appends to its prompt."""

    def logprobs(self, answers: Mapping[TrieRead, Sequence[float]]) -> list[float]:
        """Natural-log probability of each label: the sum along its tokens, aliases added by log-sum-exp."""
        values = [answers[read] for read in self.reads]
        return [
            log_sum_exp([math.fsum([values[read][column] for read, column in places]) for places in label])
            for label in self._places
        ]


class Clash(NamedTuple):
    """Two label texts that cannot be told apart: the tokens of the first are the beginning of the second's."""

    text: str
    other: str
    is_equal: bool
    """The tokens of both are the same."""


def clashes(paths: Iterable[tuple[TokenPath, str]]) -> Iterator[Clash]:
    """At least one clash among the texts with these tokens, if there are any."""
    for (path, text), (longer, other) in pairwise(sorted(paths)):  # sequences that begin with `path` follow it
        if longer[: len(path)] == path:
            yield Clash(text, other, len(longer) == len(path))


def log_sum_exp(values: Sequence[float]) -> float:
    """log of the sum of exp(value)."""
    top = max(values)
    if len(values) == 1 or math.isinf(top):
        return top
    return top + math.log(math.fsum(math.exp(value - top) for value in values))
