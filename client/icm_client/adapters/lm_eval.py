"""A scorer as a model of lm-evaluation-harness (`pip install 'icm-elicitation[lm-eval]'`), for tasks that rank answers.

python -m icm_client.adapters.lm_eval run --model icm --model_args base_url=http://gpu-box:8000 --tasks boolq
lm_eval.simple_evaluate(ScorerLM("http://gpu-box:8000"), tasks=["boolq"])
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from anyio.from_thread import start_blocking_portal
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.api.registry import register_model

from icm_client.adapters.continuations import Pair, requests_of
from icm_client.client import ScorerClient
from icm_client.contract.errors import RequestError
from icm_client.contract.wire import ScoreRequest, label_texts
from icm_client.http.api_key import read_key

MAX_REQUESTS = 16
"""The most concurrent requests: a task whose answers differ between questions needs one request per question."""


class NotKnown:
    """Whether greedy decoding would give a continuation that has less than half of the probability: not known.

    A scorer does not report the likeliest token, so a metric that needs it raises an error instead of using a guess.
    """

    def __bool__(self) -> bool:
        raise RequestError(
            "this metric needs to know whether greedy decoding would produce the continuation, which a scorer "
            "cannot say: "
            "use tasks and metrics that rank given answers, such as acc and acc_norm of multiple choice"
        )

    def __int__(self) -> int:
        return int(bool(self))

    def __repr__(self) -> str:
        return "not known"


@register_model("icm")
class ScorerLM(LM):
    """Log-likelihoods from a running icm-server: exact, and each shared beginning of contexts is computed once.

    `model` is `base` or an adapter that the scorer serves, `experiment` the name under which the work is counted. A
    context that exceeds the model's window is an error; nothing is truncated. Generation is not supported.
    """

    def __init__(
        self,
        base_url: str,
        model: str = "base",
        experiment: str = "lm-eval",
        api_key_file: str | None = None,
        **_: Any,  # batch_size, device and the like, which the scorer decides
    ):
        super().__init__()
        self._base_url, self._model, self._experiment = base_url, model, experiment
        self._api_key = read_key(Path(api_key_file) if api_key_file else None)

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool | NotKnown]]:
        """For each (context, continuation) its log-likelihood, and whether greedy decoding would give it.

        That is known where the continuation has more than half of the probability: then each of its tokens has, and is
        the likeliest. Otherwise it is NotKnown, or False among several answers to one context: multiple choice always
        evaluates it but rarely uses it, so its `exact_match` is a lower bound.
        """
        pairs: list[Pair] = [request.args for request in requests]
        with start_blocking_portal() as portal:  # also works in notebooks, whose own loop is running
            found = portal.call(self._score, pairs)
        num_answers = Counter(context for context, _ in found)
        answers: list[tuple[float, bool | NotKnown]] = []
        for request, pair in zip(requests, pairs, strict=True):
            is_likely = found[pair] > math.log(0.5)
            answer = found[pair], is_likely if is_likely or num_answers[pair[0]] > 1 else NotKnown()
            self.cache_hook.add_partial("loglikelihood", request.args, answer)
            answers.append(answer)
        return answers

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        raise RequestError(
            "a scorer returns probabilities of given labels, not of whole texts: perplexity tasks are not supported"
        )

    def generate_until(self, requests: list[Instance]) -> list[str]:
        raise RequestError("a scorer does not generate text: use tasks of the types multiple_choice and loglikelihood")

    async def _score(self, pairs: Sequence[Pair]) -> dict[Pair, float]:
        found: dict[Pair, float] = {}
        room = asyncio.Semaphore(MAX_REQUESTS)

        async def ask(client: ScorerClient, request: ScoreRequest) -> None:
            async with room:
                answer = await client.score(request)
            for prompt, row in zip(request.prompts, answer.logprobs, strict=True):
                for label, logprob in zip(request.labels, row, strict=True):
                    found[str(prompt), label_texts(label)[0]] = logprob

        async with ScorerClient(self._base_url, api_key=self._api_key) as client, asyncio.TaskGroup() as group:
            for request in requests_of(pairs, self._experiment, self._model):
                group.create_task(ask(client, request))
        return found


if __name__ == "__main__":
    from lm_eval.__main__ import cli_evaluate

    cli_evaluate()
