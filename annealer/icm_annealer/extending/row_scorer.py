"""Scores rows behind contexts of shots, or by a model that was tuned on the core."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from icm_annealer.core.arrays import Array
from icm_annealer.extending.contexts import Contexts
from icm_annealer.extending.core import Core
from icm_annealer.scoring.passes import Scorer
from icm_client.contract.errors import ScorerError
from icm_client.contract.wire import Label, ModelIdentity, ScoreRequest, Usage, label_texts


class Scored(NamedTuple):
    """Raw log-probabilities [context, row, label], in nats."""

    logprobs: Array
    usage: Usage


class RowScorer(Protocol):
    """What gives rows their scores."""

    @property
    def num_contexts(self) -> int:
        """The number of ways in which it can score a row, which are averaged."""

    async def score(self, texts: Sequence[str], contexts: Sequence[int]) -> Scored:
        """The scores of these texts behind these contexts. Raises IcmError."""


class ContextScorer:
    """Rows behind contexts that are the same for all of them, so that a prefix cache computes each context once."""

    def __init__(self, scorer: Scorer, core: Core, contexts: Contexts, model: ModelIdentity, experiment: str):
        self._scorer, self._model, self._experiment = scorer, model, experiment
        self._task = core.task
        self._labels: list[Label] = [label_texts(texts) for texts in core.task.labels.values()]
        separator, verbalizers = core.task.separator, core.task.verbalizers
        self._shots: list[list[str]] = []
        for shots in contexts.shots:
            parts: list[str] = []
            for place, number in enumerate(shots.tolist()):
                parts += [separator * (place > 0) + core.examples[number].text, verbalizers[core.labels[number]]]
            self._shots.append(parts)

    @property
    def num_contexts(self) -> int:
        return len(self._shots)

    async def score(self, texts: Sequence[str], contexts: Sequence[int]) -> Scored:
        answer = await self._scorer.score(self.request(texts, contexts))
        if (answer.model.digest, answer.model.dtype) != (self._model.digest, self._model.dtype):
            raise ScorerError(
                f"the scorer now serves another model ({answer.model.name}) than this extension began with "
                f"({self._model.name}); start the first one again and use --resume",
                code="model_changed",
            )
        logprobs = np.array(answer.logprobs).reshape(len(contexts), len(texts), len(self._labels))
        return Scored(logprobs, answer.usage)

    def request(self, texts: Sequence[str], contexts: Sequence[int]) -> ScoreRequest:
        """The request that `score` sends: one prefix a context, and behind it all rows."""
        segments = [self._task.separator + text for text in texts]
        rows = range(len(segments))
        prefixes: list[list[int | None]] = []
        for context in contexts:
            first = len(segments)
            segments += self._shots[context]
            prefixes.append([None, *range(first, len(segments))])
        return ScoreRequest(
            segments=segments,
            prefixes=prefixes,
            prompts=[[prefix, row] for prefix in range(len(prefixes)) for row in rows],
            labels=self._labels,
            terminator=self._task.separator,
            experiment=self._experiment,
            special_tokens=self._task.special_tokens,
        )


class NoScorer:
    """In place of one where rows are labelled by searches."""

    num_contexts = 0

    async def score(self, texts: Sequence[str], contexts: Sequence[int]) -> Scored:
        raise NotImplementedError


class TunedScorer:
    """Rows by a model that was tuned on labels; there are no shots in front of them."""

    num_contexts = 1

    def __init__(self, logprobs: Callable[[Sequence[str]], Awaitable[Array]]):
        """`logprobs` gives [text, label], in nats."""
        self._logprobs = logprobs

    async def score(self, texts: Sequence[str], contexts: Sequence[int]) -> Scored:
        return Scored((await self._logprobs(texts))[None], Usage())
