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
        self._labels = labels
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
        self.max_path = max(len(read.path) for read in self.reads)
        """The most tokens that a read appends to its prompt."""

    def logprobs(self, answers: Mapping[TrieRead, Sequence[float]]) -> list[float]:
        """Natural-log probability of each label: the sum along its tokens, aliases added by log-sum-exp."""
        step = {
            (read.path, token): value
            for read, values in answers.items()
            for token, value in zip(read.ids, values, strict=True)
        }

        def sequence_logprob(sequence: TokenPath) -> float:
            return math.fsum(step[sequence[:depth], token] for depth, token in enumerate(sequence))

        return [_logsumexp([sequence_logprob(s) for s in sequences]) for sequences in self._labels]


def _logsumexp(values: Sequence[float]) -> float:
    top = max(values)
    if len(values) == 1 or math.isinf(top):
        return top
    return top + math.log(math.fsum(math.exp(value - top) for value in values))
