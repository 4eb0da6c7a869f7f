"""Scores by text if an endpoint reports only the likeliest tokens: a label that is not among them stops the run."""

from __future__ import annotations

from collections.abc import Sequence

from icm_client.contract.errors import RequestError, ScorerError
from icm_client.contract.label_trie import log_sum_exp
from icm_client.openai_compat.endpoint import checked
from icm_client.openai_compat.gathered import gathered
from icm_client.openai_compat.joined import JoinedPrompt
from icm_client.openai_compat.reads import EndpointAnswers, EndpointRead, Reader, Scored

MAX_COUNTING = 32
"""Texts whose tokens are counted concurrently; each is a read of its own."""
MIN_COUNTED_SHARE = 0.5
"""An endpoint that counts less than this fraction of the expected tokens has truncated prompts."""


class TextPrompts:
    """Labels are single tokens, found by their text. `num_bos` tokens are put in front of every prompt."""

    def __init__(self, reader: Reader, model: str, num_bos: int):
        self._reader, self._model, self._num_bos = reader, model, num_bos
        self._num_chars = self._num_tokens = 0

    async def count(self, texts: Sequence[str]) -> list[int]:
        """The number of tokens of each text by itself, as the endpoint counts prompt tokens."""

        async def count(text: str) -> int:
            found = (await self._reader.endpoint.complete(self._model, [text], num_top=1)).prompt_tokens if text else 0
            if found is None:
                raise ScorerError(f"{self._reader.endpoint.url} no longer counts prompt tokens", code="no_usage")
            return max(found - self._num_bos, 0)

        distinct = list(dict.fromkeys(texts))
        counts = dict(zip(distinct, await gathered(count, distinct, MAX_COUNTING), strict=True))
        self._num_chars += sum(map(len, distinct))
        self._num_tokens += sum(counts.values())
        return [counts[text] for text in texts]

    async def score(
        self, prompts: Sequence[JoinedPrompt], labels: list[list[str]], following: str | None, model: str
    ) -> Scored:
        """Raises RequestError naming the label and the prompt if a label is not among the likeliest tokens."""
        answers = await self._reader.read(model, [EndpointRead(prompt.text) for prompt in prompts])
        self._check_length(prompts, answers)
        texts = [text for label in labels for text in label]
        for text in texts:
            without = [place for place, top in enumerate(answers.tops) if text not in top]
            if without:
                raise self._fell_out(text, prompts, without, answers.tops[without[0]])
        rows = []
        for prompt, top in zip(prompts, answers.tops, strict=True):
            values = {text: checked(top[text], f"{text!r} after prompt {prompt.number}") for text in texts}
            rows.append([log_sum_exp([values[text] for text in label]) for label in labels])
        return Scored(rows, None, len(prompts), answers)

    def _fell_out(
        self, label: str, prompts: Sequence[JoinedPrompt], without: list[int], top: dict[str, float]
    ) -> RequestError:
        first = prompts[without[0]]
        likeliest = ", ".join(repr(token) for token in sorted(top, key=lambda token: -top[token])[:3])
        return RequestError(
            f"the label {label!r} is not among the {len(top)} likeliest tokens after {len(without)} of {len(prompts)} "
            f"prompts, such as prompt {first.number} ({first.text[-40:]!r}: {likeliest}), and "
            f"{self._reader.endpoint.url} returns no others. Use labels that are a single, likely token, or an "
            f"endpoint that supports "
            "logprob_token_ids, such as `vllm serve`",
            code="label_fell_out",
            details={"label": label, "prompts": [prompts[place].number for place in without]},
        )

    def _check_length(self, prompts: Sequence[JoinedPrompt], answers: EndpointAnswers) -> None:
        """Truncated prompts do not show in the answers, only in the counted tokens."""
        if answers.prompt_tokens is None or not self._num_tokens:
            return
        expected = sum(len(prompt.text) for prompt in prompts) * self._num_tokens / self._num_chars
        if answers.prompt_tokens < MIN_COUNTED_SHARE * expected:
            raise ScorerError(
                f"{self._reader.endpoint.url} counts {answers.prompt_tokens} prompt tokens where about "
                f"{expected:.0f} were sent: it truncates prompts. Use a larger context window, or fewer examples",
                code="other_prompt",
            )
