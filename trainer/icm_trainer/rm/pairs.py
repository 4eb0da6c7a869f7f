"""Pairs of texts to learn a reward from, and where they come from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from icm_annealer.data.task import Task
from icm_annealer.runs.schema.base import Record
from icm_client.contract.errors import RequestError
from icm_trainer.sft.labelled import Origin


class Pair(Record):
    """Two texts as the model reads them, of which `chosen` is the better one. Also a line of `pairs.jsonl`."""

    chosen: str
    rejected: str
    group: str
    """Pairs of one group share texts or their prompt, so that they are held out together."""
    subset: str | None = None
    """The part of a benchmark that the pair belongs to."""


@dataclass(frozen=True)
class PairSet:
    """What a reward model learns from."""

    form: Task
    """What the model reads: the template of the texts, and the labels behind them."""
    better: str
    """The label whose log-odds are the reward."""
    pairs: Sequence[Pair]
    origin: Origin
    num_first: int
    """How many of the pairs come from the labels; the others are a first reward model's, and stand behind them."""
    why_none: str = ""
    """Why there are no pairs, if there are none."""

    @cached_property
    def texts(self) -> list[str]:
        """Every text once, in order."""
        return list(dict.fromkeys(text for pair in self.pairs for text in (pair.chosen, pair.rejected)))

    @property
    def digest(self) -> str:
        """A hash of the pairs, in order, and of what the reward is."""
        found = hashlib.sha256(json.dumps([self.form.seen(), self.better], sort_keys=True).encode())
        for pair in self.pairs:
            found.update(pair.model_dump_json().encode())
        return found.hexdigest()[:16]

    def followed_by(self, others: Sequence[Pair], origin: str) -> PairSet:
        """With pairs of a first reward model, and what to say of them."""
        text = f"{self.origin.text}; and {origin}"
        return replace(self, pairs=[*self.pairs, *others], origin=self.origin.model_copy(update={"text": text}))

    def check(self) -> None:
        """Raises RequestError if there are none."""
        if not self.pairs:
            raise RequestError(f"no pairs to learn from: {self.why_none}", code="no_pairs")
