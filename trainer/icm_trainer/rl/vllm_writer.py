"""A policy's responses written by a vLLM server, which is sent the policy's adapter for each of them."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import uuid
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from icm_client.contract.errors import ScorerError, UnavailableError
from icm_client.http.endpoint_http import EndpointHttp
from icm_client.http.retry import RetryPolicy
from icm_client.openai_compat.writing import Draw, Ending, WritingEndpoint, Written
from icm_server.engines.model_store import Progress
from icm_trainer.rl.policy import Policy, Response

LONGEST_S = 3600.0
"""Within which all responses to a prompt have to arrive."""

_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class VllmServer:
    """`vllm serve` at an address, which reads the folders of this machine."""

    url: str
    api_key: str | None = None
    say: Progress = lambda text: None
    retry: RetryPolicy | None = None

    def check(self, most_tokens: int) -> str:
        """Its version; see `WritingEndpoint.check`."""
        return self.ask(lambda endpoint: endpoint.check(most_tokens)) or "unknown"

    def ask(self, work: Callable[[WritingEndpoint], Coroutine[Any, Any, _Answer]]) -> _Answer:
        """Waits for the answer, also where an event loop runs."""

        async def answer() -> _Answer:
            http = EndpointHttp(
                self.url,
                api_key=self.api_key,
                retry=self.retry,
                read_timeout_s=LONGEST_S,
                on_wait=lambda reason, seconds: self.say(f"{reason}; waiting for {seconds:.0f} s"),
            )
            try:
                return await work(WritingEndpoint(http))
            finally:
                await http.close()

        with ThreadPoolExecutor(1) as thread:
            return thread.submit(asyncio.run, answer()).result()


@dataclass(frozen=True)
class VllmWriter:
    """See `Writer`. The seeds of requests come from torch's global generator, so a training that is resumed asks for
    the same; whether the same is written depends on the server's numbers."""

    policy: Policy
    server: VllmServer
    folder: Path
    """Where the adapter is put for the server."""

    def write(self, prompts: Sequence[tuple[int, ...]], tokens: int, stop: str) -> list[Response]:
        """Raises the errors of `icm_client.contract.errors`."""
        import torch

        equal = [(prompt, len(list(same))) for prompt, same in itertools.groupby(prompts)]
        seeds = torch.randint(2**62, (len(equal),)).tolist()
        draws = [Draw(prompt, num, seed) for (prompt, num), seed in zip(equal, seeds, strict=True)]
        ending = Ending(tokens, stop, self.policy.ends)
        self._put_adapter()
        try:
            written = self.server.ask(
                lambda endpoint: endpoint.write(f"icm-{uuid.uuid4().hex}", self.folder, draws, ending)
            )
        except UnavailableError as error:
            raise UnavailableError(f"{error.message} When it is there again, continue with --resume.") from None
        return [self._response(prompt, one, ending) for prompt, one in zip(prompts, written, strict=True)]

    def _put_adapter(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.policy.model.save_pretrained(self.folder, save_embedding_layers=False)
        for path in self.folder.iterdir():
            path.chmod(0o644)  # the server may run as another user

    def _response(self, prompt: tuple[int, ...], written: Written, ending: Ending) -> Response:
        """Raises ScorerError for a token that the model has not, and for a response that was broken off."""
        num_known = int(self.policy.model.get_input_embeddings().num_embeddings)
        if max(written.ids) >= num_known:
            raise ScorerError(
                f"{self.server.url} wrote the token {max(written.ids)}, and the policy has {num_known:,}: does it "
                "serve the model that the policy starts from?",
                code="other_model",
            )
        found = self.policy.response(prompt, list(written.ids), ending.stop)
        if len(found.ids) < ending.tokens and not self.policy.has_ended(found, ending.stop):
            raise ScorerError(
                f"{self.server.url} broke a response off after {len(found.ids)} of {ending.tokens} tokens, at no end "
                "of text: was vLLM started with --override-generation-config?",
                code="bad_answer",
            )
        return found._replace(logprobs=written.logprobs[: len(found.ids)])
