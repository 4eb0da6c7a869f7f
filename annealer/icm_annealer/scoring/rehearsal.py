"""A stand-in for a scorer: counts what requests would cost, and makes up their answers. So the work of a command can be
rehearsed as it is, and its cost be known before anything is computed."""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from icm_annealer.core.arrays import Array, Ints
from icm_annealer.scoring.passes import Scorer
from icm_annealer.scoring.request_cost import RequestCounter
from icm_client.contract.errors import IcmError
from icm_client.contract.wire import ModelInfo, ScoreRequest, ScoreResponse, Usage

MAX_KEPT = 64
"""The most requests that are kept for a measurement, evenly over the work."""
LABEL_MASS = 0.9
"""The total probability of all labels in made-up answers."""


class Scenario(NamedTuple):
    """How clearly made-up answers lean to one label of each text, in nats."""

    alone: float
    behind_shots: float
    spread: float
    """The standard deviation of the lean over texts."""
    noise: float
    """The standard deviation by which the answers to the same text differ from pass to pass."""
    commonest: float | None = None
    """The share of one label among those that answers lean to; None if all are equally frequent."""


CLEAR = Scenario(2.0, 6.0, 0.0, 0.0)
"""As if there were no doubt of any label: a search takes as few passes as it can."""
FOUND = Scenario(0.7, 2.0, 0.7, 0.3)
"""As on a task that the model knows: chains end at the same labels within a few passes."""
UNEVEN = Scenario(0.7, 2.0, 0.7, 0.3, 0.85)
"""The same with a common label, so that other label rates are tried."""
NOTHING = Scenario(0.0, 0.0, 0.0, 1.0)
"""As if no labelling were coherent: chains use all their passes and end at different labels."""


class LongRehearsalError(IcmError):
    """The work has more requests than can be rehearsed in the time."""

    code = "long_rehearsal"


class Rehearsal:
    """A scorer whose requests cost nothing. Model and token counts are those of `scorer`."""

    def __init__(
        self,
        scorer: Scorer,
        scenario: Scenario = FOUND,
        *,
        number: int = 1,
        limit_s: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
    ):
        """Rehearsals of each `number`, from 1 on, have other answers, and the work adds the number to its seed. After
        `limit_s` seconds, `score` raises LongRehearsalError."""
        self._scorer, self._scenario, self._clock, self._end = scorer, scenario, clock, clock() + limit_s
        self._rng, self.number = np.random.default_rng(number), number
        self._supposed: dict[str, int] = {}
        self._model: ModelInfo | None = None
        self._counter: RequestCounter | None = None
        self._stride = 1
        self.requests: list[ScoreRequest] = []
        """Some requests, evenly over the work."""
        self.usage = Usage()
        self.num_requests = 0

    @property
    def longest_prompt(self) -> int:
        """In tokens."""
        return self._counter.longest_prompt if self._counter else 0

    def draw(self, num: int, num_labels: int) -> tuple[Array, Array]:
        """What labels for `suppose` may follow from: random scores [text, label], and the scenario's rates [label]."""
        rates = np.full(num_labels, 1 / num_labels)
        if self._scenario.commonest is not None:
            rates[:] = (1 - self._scenario.commonest) / (num_labels - 1)
            rates[self._rng.integers(num_labels)] = self._scenario.commonest
        return self._rng.gumbel(size=(num, num_labels)), rates

    def suppose(self, texts: Sequence[str], labels: Ints) -> None:
        """Answers lean to these labels, such as ones that keep to the rules; to random ones for other texts."""
        self._supposed.update(zip(texts, labels.tolist(), strict=True))

    async def model(self) -> ModelInfo:
        if self._model is None:
            self._model = await self._scorer.model()
            self._counter = RequestCounter(self._scorer, self._model)
        return self._model

    async def count_tokens(self, texts: Sequence[str], *, special_tokens: bool = False) -> list[int]:
        return await self._scorer.count_tokens(texts, special_tokens=special_tokens)

    async def score(self, request: ScoreRequest) -> ScoreResponse:
        if self._clock() > self._end:
            raise LongRehearsalError("the work is too long to be rehearsed")
        model = await self.model()
        assert self._counter is not None
        usage = await self._counter.add(request)
        self.usage += usage
        if self.num_requests % self._stride == 0:
            self._keep(request)
        self.num_requests += 1
        return ScoreResponse(logprobs=self._answers(request), usage=usage, model=model)

    def _keep(self, request: ScoreRequest) -> None:
        self.requests.append(request)
        if len(self.requests) > MAX_KEPT:
            self.requests, self._stride = self.requests[::2], 2 * self._stride

    def _answers(self, request: ScoreRequest) -> list[list[float]]:
        num_labels, separator, scenario = len(request.labels), request.terminator or "", self._scenario
        rows = []
        for prompt in request.prompts:
            assert not isinstance(prompt, str)
            text = "".join(request.segments[part] for part in prompt[1:] if part is not None).removeprefix(separator)
            number = zlib.crc32(text.encode())
            usual = scenario.alone if prompt[0] is None else scenario.behind_shots
            scores = scenario.noise * self._rng.standard_normal(num_labels)
            spread = scenario.spread * np.random.default_rng(number).standard_normal()
            scores[self._supposed.get(text, number % num_labels)] += usual + spread
            rows.append(np.log(LABEL_MASS) + scores - np.log(np.exp(scores).sum()))
        return [row.tolist() for row in rows]
