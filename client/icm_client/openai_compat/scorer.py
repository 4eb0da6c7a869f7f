"""The scorer's interface (`score`, `count_tokens`, `model`) for an endpoint that is not an icm-server."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import httpx
import pydantic

from icm_client.contract.adapters import model_named
from icm_client.contract.errors import RequestError, ScorerError
from icm_client.contract.prefix_tree import checked_labels
from icm_client.contract.wire import ModelInfo, ScoreRequest, ScoreResponse, Usage
from icm_client.http.endpoint_http import EndpointHttp
from icm_client.http.retry import RetryPolicy
from icm_client.openai_compat.endpoint import Card, OpenAIEndpoint
from icm_client.openai_compat.joined import JoinedPrompt, joined_prompts, used_texts
from icm_client.openai_compat.probe import Abilities, probe
from icm_client.openai_compat.reads import Reader, Scored
from icm_client.openai_compat.text_prompts import TextPrompts
from icm_client.openai_compat.token_prompts import TokenPrompts

UNKNOWN_WINDOW = 2048
"""The most tokens in a prompt if the endpoint does not report the model's window."""
MAX_SHOWN_MODELS = 8


class _Description(NamedTuple):
    """What the endpoint reports about itself and its model."""

    card: Card
    adapters: dict[str, str]
    version: str | None


class OpenAIScorer:
    """Scores through an OpenAI-compatible `/v1/completions`. Open it with `open`, close it when done.

    If the endpoint accepts prompts as tokens with `logprob_token_ids` (`vllm serve`), answers are exact and equal an
    icm-server's. Otherwise each label has to be among the likeliest tokens that the endpoint reports; if one is not,
    RequestError stops the run. Prompt tokens are counted by the endpoint, which may not count cached tokens.
    """

    def __init__(self, http: EndpointHttp, endpoint: OpenAIEndpoint, name: str, abilities: Abilities, info: ModelInfo):
        self._http, self._endpoint, self._name = http, endpoint, name
        self._info, self._fingerprint = info, abilities.fingerprint
        self.notes = abilities.notes
        reader = Reader(endpoint, num_top=abilities.num_top, max_prompts=abilities.max_prompts)
        self._prompts = (
            TokenPrompts(reader, name, abilities.bos, info.max_prompt_tokens)
            if abilities.takes_tokens
            else TextPrompts(reader, name, len(abilities.bos))
        )

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        model: str | None = None,
        api_key: str | None = None,
        retry: RetryPolicy | None = None,
        read_timeout_s: float = 3600.0,
        on_wait: Callable[[str, float], None] | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> OpenAIScorer:
        """Waits for the endpoint as long as `retry` allows, and probes it.

        `model` is the model's name there; it may be left out if there is only one. Raises RequestError if it is not
        there, ScorerError for an endpoint whose answers are implausible.
        """
        http = EndpointHttp(
            url, api_key=api_key, retry=retry, read_timeout_s=read_timeout_s, on_wait=on_wait, transport=transport
        )
        try:
            endpoint = OpenAIEndpoint(http)
            cards = await endpoint.cards()
            await endpoint.refuse_icm_server()
            name = model or _only(endpoint, cards)
            description = await _describe(endpoint, name, cards)
            abilities = await probe(endpoint, name)
            if description.card.window is None:
                abilities.notes.append(
                    f"{endpoint.url} does not report the model's context window: prompts are limited to "
                    f"{UNKNOWN_WINDOW} "
                    "tokens"
                )
            info = _info(
                endpoint,
                name=name,
                digest=_digest(description, abilities.fingerprint),
                dtype="unknown",
                engine=f"{description.card.owned_by or 'openai'} {description.version or ''}".strip(),
                max_prompt_tokens=max((description.card.window or UNKNOWN_WINDOW) - 1, 1),
                adds_bos=bool(abilities.bos),
                cache_block_tokens=await endpoint.cache_block_tokens(),
                adapters=description.adapters,
            )
            return cls(http, endpoint, name, abilities, info)
        except BaseException:
            await http.close()
            raise

    async def __aenter__(self) -> OpenAIScorer:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes all connections."""
        await self._http.close()

    async def model(self) -> ModelInfo:
        """The model that answers now. Its digest covers what the endpoint reports: names, paths, window, versions."""
        description = await _describe(self._endpoint, self._name, await self._endpoint.cards())
        return self._info.model_copy(update={"digest": _digest(description, self._fingerprint)})

    async def count_tokens(self, texts: Sequence[str], *, special_tokens: bool = False) -> list[int]:
        """The number of tokens of each text by itself, in the order given.

        The endpoint decides how special tokens in texts are treated, here and in `score`: neither /v1/completions nor
        vLLM's /tokenize has an option for it (vLLM recognises special tokens).
        """
        return await self._prompts.count(texts)

    async def score(self, request: ScoreRequest) -> ScoreResponse:
        """Log-probabilities of every label after every prompt, in the order of the prompts; see
        `wire.ScoreResponse`."""
        model_named(self._info, request.model)
        labels, prompts = checked_labels(request.labels), joined_prompts(request)
        distinct = _depth_first(prompts)
        name = self._name if request.model == "base" else request.model
        scored = await self._prompts.score(distinct, labels, _following(request), name)
        self._fingerprint = scored.answers.fingerprint
        place_of = {prompt.text: place for place, prompt in enumerate(distinct)}
        places = [place_of[prompt.text] for prompt in prompts]
        return ScoreResponse(
            logprobs=[scored.rows[place] for place in places],
            usage=_usage(scored, places),
            model=model_named(await self.model(), request.model),
        )


def _depth_first(prompts: Sequence[JoinedPrompt]) -> list[JoinedPrompt]:
    """Every distinct text once, sorted, so that texts with a common beginning are neighbours, for the endpoint's prefix
    cache."""
    first: dict[str, JoinedPrompt] = {}
    for prompt in prompts:
        first.setdefault(prompt.text, prompt)
    return sorted(first.values(), key=lambda prompt: prompt.text)


def _following(request: ScoreRequest) -> str | None:
    """The text after a label in the request's contexts that begins with its terminator; unused segments do not
    count."""
    if not request.terminator:
        return None
    texts = (text for text in used_texts(request) if text.startswith(request.terminator))
    return next(texts, request.terminator)


def _usage(scored: Scored, places: Sequence[int]) -> Usage:
    answers = scored.answers
    read_tokens = answers.prompt_tokens or 0
    return Usage(
        prompt_tokens=sum(scored.lengths[place] for place in places) if scored.lengths else read_tokens,
        computed_tokens=max(read_tokens - answers.cached_tokens, 0),
        cached_tokens=answers.cached_tokens,
        num_reads=scored.num_reads,
        read_cache_prompts=len(places) - len(set(places)),
        joined_texts=len(scored.rows) if scored.lengths else 0,
    )


def _only(endpoint: OpenAIEndpoint, cards: Sequence[Card]) -> str:
    names = [card.id for card in cards if card.parent is None]
    if len(names) == 1:
        return names[0]
    if not names:
        raise RequestError(f"{endpoint.url} lists no models: choose one with --scorer-model", code="no_model_named")
    shown = ", ".join(names[:MAX_SHOWN_MODELS]) + (", ..." if len(names) > MAX_SHOWN_MODELS else "")
    raise RequestError(
        f"{endpoint.url} serves {len(names)} models: choose one with --scorer-model ({shown})", code="no_model_named"
    )


async def _describe(endpoint: OpenAIEndpoint, name: str, cards: Sequence[Card]) -> _Description:
    by_name = {card.id: card for card in cards}
    if cards and name not in by_name:
        shown = ", ".join(list(by_name)[:MAX_SHOWN_MODELS])
        raise RequestError(f"{endpoint.url} serves no model {name!r}; it lists {shown}", code="unknown_model")
    card = by_name.get(name, Card(name))
    parent = by_name.get(card.parent or "")
    if card.window is None and parent is not None:
        card = card._replace(window=parent.window)
    adapters = {other.id: "" for other in cards if other.parent == name}  # such an endpoint reports no digests
    return _Description(card, adapters, await endpoint.version())


def _info(endpoint: OpenAIEndpoint, **fields: Any) -> ModelInfo:
    try:
        return ModelInfo(**fields)
    except pydantic.ValidationError as error:
        field = error.errors()[0]["loc"][0]
        raise ScorerError(f"{endpoint.url} describes its model with an invalid {field}", code="bad_answer") from None


def _digest(description: _Description, fingerprint: str | None) -> str:
    # A hosted model's fingerprint changes with the machine that answers; vLLM's identifies its configuration.
    own = fingerprint if fingerprint and fingerprint.startswith("vllm-") else None
    facts = [
        description.card.id,
        description.card.root,
        description.card.window,
        description.card.owned_by,
        description.version,
        own,
    ]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
