"""Requests to an OpenAI-compatible endpoint, and checks of its answers."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from icm_client.contract.errors import AccessError, RequestError, ScorerError
from icm_client.contract.wire import is_logprob
from icm_client.http.endpoint_http import EndpointHttp

LOWEST = -9999.0
"""The value that some servers write for minus infinity, which JSON lacks."""
WINDOW_FIELDS = ("max_model_len", "context_length", "context_window", "max_context_length")
"""Field names of a model's window in /v1/models."""

MAX_COUNT = 2**31
"""A higher number of tokens is ignored."""

TokenIds = list[int]


class Card(NamedTuple):
    """A model that the endpoint lists."""

    id: str
    root: str | None = None
    parent: str | None = None
    owned_by: str | None = None
    window: int | None = None


class Answer(NamedTuple):
    """Log-probabilities of the first token after each prompt, by token, in the order of the prompts.

    A token is identified by its text, or by `token_name` if ids were requested. Values are unchecked; NaN stands for a
    value that is not a number. Counts are None if the endpoint reports none.
    """

    tops: list[dict[str, float]]
    prompt_tokens: int | None
    cached_tokens: int | None
    fingerprint: str | None


class OpenAIEndpoint:
    """Typed calls. Raises the errors of `icm_client.contract.errors`."""

    def __init__(self, http: EndpointHttp):
        self._http = http
        self.url = http.root

    async def cards(self) -> list[Card]:
        """The listed models; empty if the endpoint does not list them."""
        with contextlib.suppress(RequestError, ScorerError, KeyError, TypeError, AttributeError):
            listed = await self._http.ask("GET", "/v1/models")
            return [_card(entry) for entry in listed["data"]]
        return []

    async def refuse_icm_server(self) -> None:
        """Raises RequestError if the server is an icm-server, which has its own protocol."""
        found = None
        with contextlib.suppress(RequestError, ScorerError, AccessError):
            found = await self._http.ask("GET", "/v1/model")
        if isinstance(found, dict) and {"digest", "max_prompt_tokens"} <= found.keys():
            raise RequestError(
                f"{self.url} is an icm-server: name it {self.url}, without openai: (a ScorerClient in Python)",
                code="other_server",
            )

    async def version(self) -> str | None:
        """The server's version, if it reports one (vLLM does)."""
        with contextlib.suppress(RequestError, ScorerError, AccessError, KeyError, TypeError):
            return str((await self._http.ask("GET", "/version"))["version"])
        return None

    async def cache_block_tokens(self) -> int:
        """Tokens in a block of the prefix cache, from vLLM's metrics; 1 where there are none."""
        with contextlib.suppress(RequestError, ScorerError, AccessError):
            found = re.search(rb'block_size="(\d{1,6})"', await self._http.content("GET", "/metrics"))
            return max(int(found[1]), 1) if found else 1
        return 1

    async def tokenize(self, model: str, text: str, *, special: bool = False) -> TokenIds:
        """The text's tokens; with `special`, including those that the tokenizer adds to a prompt."""
        body = {"model": model, "prompt": text, "add_special_tokens": special}
        answer = await self._http.ask("POST", "/tokenize", body)
        tokens = answer.get("tokens") if isinstance(answer, dict) else None
        if not isinstance(tokens, list) or not all(type(token) is int for token in tokens):
            raise ScorerError(f"{self.url}/tokenize answered something other than tokens", code="bad_answer")
        return tokens

    async def complete(
        self,
        model: str,
        prompts: Sequence[str | TokenIds],
        *,
        num_top: int = 0,
        target_ids: Sequence[int] = (),
    ) -> Answer:
        """Requests one token after every prompt: its `num_top` likeliest tokens, or `target_ids` (vLLM's
        logprob_token_ids).

        Raises ScorerError unless there is a choice for every prompt.
        """
        prompt = prompts[0] if len(prompts) == 1 else list(prompts)
        # Greedy: otherwise a sampled token would be listed among the likeliest.
        body: dict[str, Any] = {"model": model, "prompt": prompt, "max_tokens": 1, "temperature": 0}
        body["logprobs"] = num_top
        if target_ids:
            body |= {"logprob_token_ids": list(target_ids), "return_tokens_as_token_ids": True}
        answer = await self._http.ask("POST", "/v1/completions", body)
        try:
            choices = {choice.get("index", place): choice for place, choice in enumerate(answer["choices"])}
            tops = [_top(choices[number]) for number in range(len(prompts))]
        except (KeyError, TypeError, AttributeError):
            choices, tops = {}, []
        if len(choices) != len(prompts):
            raise ScorerError(
                f"{self.url}/v1/completions answered something other than a choice for each of {len(prompts)} prompts",
                code="bad_answer",
            )
        usage = _mapping(answer.get("usage"))
        details = _mapping(usage.get("prompt_tokens_details"))
        fingerprint = answer.get("system_fingerprint")
        return Answer(
            tops,
            _count(usage.get("prompt_tokens")),
            _count(details.get("cached_tokens")),
            fingerprint if isinstance(fingerprint, str) else None,
        )


def token_name(token_id: int) -> str:
    """The name of a token in answers to requests with ids."""
    return f"token_id:{token_id}"


def checked(value: float | None, what: str) -> float:
    """The value if it is a log-probability, otherwise raises ScorerError; its message begins with `what`."""
    if value is None:
        raise ScorerError(f"{what} has no log-probability: the endpoint did not return one", code="missing_value")
    if math.isnan(value):
        raise ScorerError(f"{what} has NaN as its log-probability", code="nan_value")
    if value <= LOWEST:
        raise ScorerError(f"{what} has minus infinity as its log-probability", code="infinite_value")
    if not is_logprob(value):
        raise ScorerError(f"{what} has {value} as its log-probability, which is above 0", code="positive_value")
    return value


def _card(entry: Any) -> Card:
    windows = [entry[name] for name in WINDOW_FIELDS if _count(entry.get(name))]
    texts = (entry.get(name) for name in ("root", "parent", "owned_by"))
    root, parent, owned_by = (text if isinstance(text, str) else None for text in texts)
    return Card(str(entry["id"]), root, parent, owned_by, windows[0] if windows else None)


def _top(choice: dict[str, Any]) -> dict[str, float]:
    """Empty if there are no log-probabilities."""
    logprobs: Any = choice.get("logprobs")
    try:
        if "content" in logprobs:  # llama.cpp answers in the format of chat completions
            entries = [(each["token"], each["logprob"]) for each in logprobs["content"][0]["top_logprobs"]]
        else:
            entries = list(logprobs["top_logprobs"][0].items())
    except (KeyError, IndexError, TypeError, AttributeError):
        return {}
    top: dict[str, float] = {}
    for token, value in entries:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        top.setdefault(str(token), float(value) if number else math.nan)
    return top


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value <= MAX_COUNT else None
