"""Scores rows behind contexts of shots, or by a model that was tuned on the core."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from icm_annealer.core.arrays import Array
from icm_annealer.extending.contexts import Contexts
from icm_annealer.extending.core import Core
from icm_annealer.scoring.passes import Scorer
from icm_client.contract.errors import ScorerError
from icm_client.contract.wire import Label, ModelIdentity, ScoreRequest, ScoreResponse, Usage, label_texts


class Scored(NamedTuple):
    """Raw log-probabilities [context, row, label], in nats."""

    logprobs: Array
    usage: Usage


class RowScorer(Protocol):
    """What gives rows their scores."""

    @property
    def num_contexts(self) -> int:
        """The number of ways in which it can score a row, which are averaged."""

    @property
    def num_shared(self) -> int:
        """How many of them, the first ones, have the same shots in front of all rows, so that a read costs little."""

    async def score(self, texts: Sequence[str], contexts: Sequence[int]) -> Scored:
        """The scores of these texts behind these contexts. Raises IcmError."""

    def neighbours(self, text: str) -> list[int]:
        """The core's examples in front of this row in contexts that are not shared; none if all are."""


async def score_in_parts(scorer: RowScorer, texts: Sequence[str], contexts: Sequence[int], num: int) -> Scored:
    """`scorer.score` in up to `num` parts at the same time, one for each scorer behind it."""
    size = math.ceil(len(texts) / num)
    parts = [texts[start : start + size] for start in range(0, len(texts), size)]
    answers = await asyncio.gather(*(scorer.score(part, contexts) for part in parts))
    usage = sum((answer.usage for answer in answers), Usage())
    return Scored(np.concatenate([answer.logprobs for answer in answers], axis=1), usage)


class ContextScorer:
    """Rows behind contexts that are the same for all of them, so that a prefix cache computes each context once."""

    def __init__(self, scorer: Scorer, core: Core, contexts: Contexts, model: ModelIdentity, experiment: str):
        self._scorer, self._model, self._experiment = scorer, model, experiment
        self._task = core.task
        self._labels: list[Label] = [label_texts(texts) for texts in core.task.labels.values()]
        verbalizers = core.task.verbalizers
        self._shown = [
            (example.text, verbalizers[label]) for example, label in zip(core.examples, core.labels, strict=True)
        ]
        self._shots = [self._parts(shots.tolist()) for shots in contexts.shots]

    def _parts(self, shots: Sequence[int]) -> list[str]:
        """The segments of a context of these examples of the core."""
        parts: list[str] = []
        for place, number in enumerate(shots):
            text, verbalizer = self._shown[number]
            parts += [self._task.separator * (place > 0) + text, verbalizer]
        return parts

    @property
    def num_contexts(self) -> int:
        return len(self._shots)

    @property
    def num_shared(self) -> int:
        return len(self._shots)

    async def score(self, texts: Sequence[str], contexts: Sequence[int]) -> Scored:
        answer = await self._checked(self.request(texts, contexts))
        logprobs = np.array(answer.logprobs).reshape(len(contexts), len(texts), len(self._labels))
        return Scored(logprobs, answer.usage)

    def neighbours(self, text: str) -> list[int]:
        return []

    async def score_behind(self, texts: Sequence[str], shots: Sequence[Sequence[int]]) -> Scored:
        """Each text behind shots of its own, examples of the core by number, as one context."""
        answer = await self._checked(
            self._request([self._task.separator + text for text in texts], [self._parts(some) for some in shots])
        )
        return Scored(np.array(answer.logprobs)[None], answer.usage)

    async def _checked(self, request: ScoreRequest) -> ScoreResponse:
        answer = await self._scorer.score(request)
        if (answer.model.digest, answer.model.dtype) != (self._model.digest, self._model.dtype):
            raise ScorerError(
                f"the scorer now serves another model ({answer.model.name}) than this extension began with "
                f"({self._model.name}); start the first one again and use --resume",
                code="model_changed",
            )
        return answer

    def request(self, texts: Sequence[str], contexts: Sequence[int]) -> ScoreRequest:
        """The request that `score` sends: one prefix a context, and behind it all rows."""
        every = [self._task.separator + text for text in texts]
        prompts = [(prefix, row) for prefix in range(len(contexts)) for row in range(len(every))]
        return self._request(every, [self._shots[context] for context in contexts], prompts)

    def _request(
        self, texts: list[str], shown: Sequence[list[str]], prompts: Sequence[tuple[int, int]] | None = None
    ) -> ScoreRequest:
        """Texts behind what is shown, by default each behind its own; every text is sent once."""
        segments = {text: number for number, text in enumerate(dict.fromkeys(texts))}
        prefixes: list[list[int | None]] = []
        for parts in shown:
            prefixes.append([None, *(segments.setdefault(part, len(segments)) for part in parts)])
        pairs = prompts if prompts is not None else [(number, number) for number in range(len(texts))]
        return ScoreRequest(
            segments=list(segments),
            prefixes=prefixes,
            prompts=[[prefix, segments[texts[row]]] for prefix, row in pairs],
            labels=self._labels,
            terminator=self._task.separator,
            experiment=self._experiment,
            special_tokens=self._task.special_tokens,
        )


class NoScorer:
    """In place of one where rows are labelled by searches."""

    num_contexts = num_shared = 0

    async def score(self, texts: Sequence[str], contexts: Sequence[int]) -> Scored:
        raise NotImplementedError

    def neighbours(self, text: str) -> list[int]:
        return []


class TunedScorer:
    """Rows by a model that was tuned on labels; there are no shots in front of them."""

    num_contexts = num_shared = 1

    def __init__(self, logprobs: Callable[[Sequence[str]], Awaitable[Array]]):
        """`logprobs` gives [text, label], in nats."""
        self._logprobs = logprobs

    async def score(self, texts: Sequence[str], contexts: Sequence[int]) -> Scored:
        return Scored((await self._logprobs(texts))[None], Usage())

    def neighbours(self, text: str) -> list[int]:
        return []
