"""Labels of any number of tokens: which ids are to be read behind a prompt, and what they make of the labels. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from icm_client.contract.errors import RequestError
from icm_client.openai_compat.reads import MAX_WANTED

TokenPath = tuple[int, ...]


class Node(NamedTuple):
    """An inner node of the trie over the labels' tokens: read `wanted` behind a prompt and then `path`."""

    path: TokenPath
    wanted: TokenPath


class LabelPaths:
    """`labels[k]` are the token paths of label k's texts, of which none may begin another (`check_apart`)."""

    def __init__(self, labels: Sequence[Sequence[TokenPath]]):
        self._labels = labels
        children: dict[TokenPath, dict[int, None]] = {}
        for paths in labels:
            for path in paths:
                for depth, token in enumerate(path):
                    children.setdefault(path[:depth], {})[token] = None
        self.nodes = [
            Node(path, tuple(ids)[start : start + MAX_WANTED])
            for path, ids in sorted(children.items(), key=lambda child: (len(child[0]), child[0]))
            for start in range(0, len(ids), MAX_WANTED)
        ]
        self.max_path = max(len(node.path) for node in self.nodes)

    def logprobs(self, steps: Mapping[tuple[TokenPath, int], float]) -> list[float]:
        """By label the sum along its path, several added by log-sum-exp; `steps[path, id]` is log p(id | path)."""
        return [
            log_sum_exp([math.fsum(steps[path[:k], token] for k, token in enumerate(path)) for path in paths])
            for paths in self._labels
        ]


def check_apart(paths: Mapping[str, TokenPath]) -> None:
    """Raises RequestError if one label text's tokens begin another's, or equal them."""
    for (path, text), (longer, other) in pairwise(sorted((path, text) for text, path in paths.items())):
        if longer[: len(path)] == path:
            raise RequestError(
                f"the tokens of the label {text!r} begin those of {other!r}, and an endpoint that is no icm-server "
                "cannot tell the two apart: use other labels",
                code="ambiguous_labels",
                details={"labels": [text, other]},
            )


def log_sum_exp(values: Sequence[float]) -> float:
    """log of the sum of exp(value)."""
    top = max(values)
    return top if len(values) == 1 else top + math.log(math.fsum(math.exp(value - top) for value in values))
