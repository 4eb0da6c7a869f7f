"""A scorer as a model of inspect_ai (`pip install 'icm-elicitation[inspect]'`), for tasks with a fixed list of answers.

    inspect eval my_task.py --model icm/base --model-base-url http://gpu-box:8000
    eval(task, model=get_model("icm/base", base_url="http://gpu-box:8000", labels=["yes", "no"]))

After `icm/` comes `base`, or the name of an adapter that the scorer serves.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    GenerateConfig,
    Logprob,
    Logprobs,
    ModelAPI,
    ModelOutput,
    ModelUsage,
    TopLogprob,
    modelapi,
)
from inspect_ai.tool import ToolChoice, ToolInfo

from icm_client.client import ScorerClient
from icm_client.contract.errors import RequestError
from icm_client.contract.wire import ScoreRequest
from icm_client.http.api_key import read_key

LETTERS = re.compile(r"LETTER is one of ((?:\w,)*\w)\b")
"""How inspect_ai's multiple choice lists the allowed letters."""


@modelapi(name="icm")
class ScorerAPI(ModelAPI):
    """Answers with the likeliest of `labels` after the messages and `answer`: plain text, for base models.

    Without `labels` (a list, or names separated by commas) it answers with the letters of inspect_ai's
    `multiple_choice`. The output's `logprobs` contain the log-probabilities of all labels. A scorer has no tools,
    sampling or reasoning; requests for these are ignored.
    """

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008  (inspect_ai's convention)
        labels: list[str] | str | None = None,
        answer: str = "ANSWER:",
        experiment: str = "inspect",
        api_key_file: str | None = None,
        **model_args: Any,
    ):
        super().__init__(model_name, base_url, api_key, [], config)
        if model_args:
            raise RequestError(f"icm models take labels, answer, experiment, api_key_file, not {', '.join(model_args)}")
        if base_url is None:
            raise RequestError("set the scorer's address: --model-base-url http://HOST:PORT")
        self._url, self._key = base_url, api_key or read_key(Path(api_key_file) if api_key_file else None)
        self._labels = labels.split(",") if isinstance(labels, str) else labels
        self._answer, self._experiment = answer, experiment

    async def generate(
        self, input: list[ChatMessage], tools: list[ToolInfo], tool_choice: ToolChoice, config: GenerateConfig
    ) -> ModelOutput:
        text = "\n\n".join(message.text for message in input)
        labels = self._labels or _letters(text)
        request = ScoreRequest(
            prompts=[f"{text}\n\n{self._answer}"],
            labels=[f" {label}" for label in labels],
            experiment=self._experiment,
            model=self.model_name,
        )
        async with ScorerClient(self._url, api_key=self._key) as client:  # this object outlives the loop
            answer = await client.score(request)
        ranked = sorted(zip(labels, answer.logprobs[0], strict=True), key=lambda pair: -pair[1])
        best, logprob = ranked[0]
        all_of_them = [TopLogprob(token=label, logprob=value) for label, value in ranked]
        return ModelOutput(
            model=self.model_name,
            choices=[
                ChatCompletionChoice(
                    message=ChatMessageAssistant(content=f"{self._answer} {best}", source="generate"),
                    stop_reason="stop",
                    logprobs=Logprobs(content=[Logprob(token=best, logprob=logprob, top_logprobs=all_of_them)]),
                )
            ],
            usage=ModelUsage(
                input_tokens=answer.usage.prompt_tokens,
                total_tokens=answer.usage.prompt_tokens,
                input_tokens_cache_read=answer.usage.cached_tokens,
            ),
        )

    def connection_key(self) -> str:
        return self._url


def _letters(text: str) -> list[str]:
    found = LETTERS.findall(text)
    if not found:
        raise RequestError(
            "a scorer chooses among given answers, and this prompt lists none as inspect_ai's multiple_choice does: "
            "set them with -M labels=yes,no"
        )
    return str(found[-1]).split(",")
