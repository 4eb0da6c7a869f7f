"""Labels of any number of tokens as few reads: one for each inner node of the trie over their tokens. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from icm_server.engines.base import MAX_READ_IDS

TokenPath = tuple[int, ...]


class TrieRead(NamedTuple):
    """What is read behind a prompt: log p(id | prompt, path) for each of at most MAX_READ_IDS ids."""

    path: TokenPath
    ids: TokenPath


class LabelTrie:
    """`labels[k]` holds label k's token sequences (aliases). No sequence may begin another label's."""

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
        """Of every label's every token: the read that it is in, and where in its answer."""
        self.max_path = max(len(read.path) for read in self.reads)
        """The most tokens that a read appends to its prompt."""

    def logprobs(self, answers: Mapping[TrieRead, Sequence[float]]) -> list[float]:
        """Natural-log probability of each label: the sum along its tokens, aliases added by log-sum-exp."""
        values = [answers[read] for read in self.reads]
        return [
            _logsumexp([math.fsum([values[read][column] for read, column in places]) for places in label])
            for label in self._places
        ]


def _logsumexp(values: Sequence[float]) -> float:
    top = max(values)
    if len(values) == 1 or math.isinf(top):
        return top
    return top + math.log(math.fsum(math.exp(value - top) for value in values))
