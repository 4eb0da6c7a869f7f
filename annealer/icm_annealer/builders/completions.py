"""A client for sampling texts from any OpenAI-compatible `/v1/completions`."""

from __future__ import annotations

from types import TracebackType

import httpx

from icm_client.contract.errors import ScorerError
from icm_client.http.endpoint_http import EndpointHttp
from icm_client.http.retry import RetryPolicy


class Completions:
    """Samples from the endpoint at `url` (`http://host:8000` or `.../v1`); an async context manager.

    Connection errors, 429 and 503 are retried according to `retry`. Raises the errors of
    `icm_client.contract.errors`.
    """

    def __init__(
        self,
        url: str,
        *,
        model: str | None = None,
        api_key: str | None = None,
        retry: RetryPolicy | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ):
        self._http = EndpointHttp(url, api_key=api_key, retry=retry, transport=transport)
        self._model = model

    async def __aenter__(self) -> Completions:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.close()

    async def model(self) -> str:
        """The model to sample from: the one named, or the first that the endpoint lists."""
        if self._model is None:
            listed = await self._http.ask("GET", "/v1/models")
            try:
                self._model = str(listed["data"][0]["id"])
            except (KeyError, IndexError, TypeError):
                raise ScorerError(f"{self._http.root}/v1/models lists no model; name one with --model") from None
        return self._model

    async def sample(
        self, prompt: str, *, num: int, seed: int, temperature: float, max_tokens: int, stop: list[str]
    ) -> list[str]:
        """Up to `num` completions of the prompt (an endpoint may return fewer)."""
        body = {"model": await self.model(), "prompt": prompt, "n": num, "seed": seed}
        body |= {"temperature": temperature, "max_tokens": max_tokens, "stop": stop}
        answer = await self._http.ask("POST", "/v1/completions", body)
        try:
            texts = [choice["text"] for choice in answer["choices"]]
        except (KeyError, TypeError):
            texts = [None]
        if not all(isinstance(text, str) for text in texts):
            raise ScorerError(f"{self._http.root}/v1/completions answered something other than choices with a text")
        return [text.encode(errors="replace").decode() for text in texts]  # JSON may contain lone surrogates
