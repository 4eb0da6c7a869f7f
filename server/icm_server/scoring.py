"""A request's way through the scorer: prefix tree -> tokens -> reads, depth first -> log-probabilities."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import NamedTuple

from icm_client.errors import RequestError
from icm_client.wire import ScoreRequest, ScoreResponse, Usage
from icm_server.engines.base import Engine, ReadAnswer
from icm_server.label_trie import LabelTrie, TrieRead
from icm_server.prefix_tokens import PrefixTokenizer, Tokenized, TokenizedPrompt


class _Read(NamedTuple):
    """One engine request, for all prompts of the request that have the same tokens and labels."""

    prompt: int
    read: TrieRead


class Scorer:
    """Scores requests on one engine; any number of them at once."""

    def __init__(self, engine: Engine):
        self.engine = engine
        self._tokenizer = PrefixTokenizer(engine.tokenizer)
        self._tokenizing = asyncio.Lock()
        # A bounded window: a shared prefix must still be in the cache when its next read comes.
        self._window = asyncio.Semaphore(engine.max_concurrent_reads)

    async def score(self, request: ScoreRequest) -> ScoreResponse:
        """Log-probabilities in the order asked. Raises RequestError before anything is computed, or ScorerError."""
        info = self.engine.info
        if request.model != "base" and request.model not in info.adapters:
            raise RequestError(
                f"no model {request.model!r}: this scorer serves base{''.join(', ' + a for a in info.adapters)}",
                code="unknown_model",
            )
        async with self._tokenizing:
            tokenized = await asyncio.to_thread(self._tokenizer.tokenize, request)
        self._check_window(tokenized)
        first_of = _first_of(tokenized.prompts)
        reads = [_Read(k, read) for k in dict.fromkeys(first_of) for read in tokenized.prompts[k].trie.reads]
        answers = await self._read_all(reads, tokenized.prompts, request.model)
        by_prompt: dict[int, dict[TrieRead, list[float]]] = {}
        for (prompt, read), answer in zip(reads, answers, strict=True):
            by_prompt.setdefault(prompt, {})[read] = answer.logprobs
        rows = {k: tokenized.prompts[k].trie.logprobs(found) for k, found in by_prompt.items()}
        return ScoreResponse(
            logprobs=[rows[first] for first in first_of],
            usage=_usage(tokenized, reads, answers, first_of),
            model=info,
        )

    def _check_window(self, tokenized: Tokenized) -> None:
        limit = self.engine.info.max_prompt_tokens
        for number, (ids, trie) in enumerate(tokenized.prompts):
            length = len(ids) + trie.max_path
            if length > limit:
                raise RequestError(
                    f"prompt {number} has {length} tokens with its labels, more than the model's limit of {limit}",
                    code="prompt_too_long",
                    details={"prompt": number, "tokens": length, "limit": limit},
                )

    async def _read_all(self, reads: list[_Read], prompts: list[TokenizedPrompt], model: str) -> list[ReadAnswer]:
        """All reads, begun in order; the first failure cancels the others."""
        tasks: list[asyncio.Task[ReadAnswer]] = []
        try:
            async with asyncio.TaskGroup() as group:
                for prompt, read in reads:
                    await self._window.acquire()
                    ids = [*prompts[prompt].ids, *read.path]
                    task = group.create_task(self.engine.read(ids, read.ids, model))
                    task.add_done_callback(lambda _: self._window.release())  # also if it never got to run
                    tasks.append(task)
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return [task.result() for task in tasks]


def _first_of(prompts: Iterable[TokenizedPrompt]) -> list[int]:
    """For every prompt the number of the first that asks the same."""
    first: dict[tuple[tuple[int, ...], LabelTrie], int] = {}
    return [first.setdefault((tuple(ids), trie), number) for number, (ids, trie) in enumerate(prompts)]


def _usage(tokenized: Tokenized, reads: list[_Read], answers: list[ReadAnswer], first_of: list[int]) -> Usage:
    read_tokens = sum(len(tokenized.prompts[prompt].ids) + len(read.path) for prompt, read in reads)
    cached = sum(answer.num_cached_tokens for answer in answers)
    return Usage(
        prompt_tokens=sum(len(prompt.ids) for prompt in tokenized.prompts),
        computed_tokens=read_tokens - cached,
        cached_tokens=cached,
        num_reads=len(reads),
        reused_prompts=len(first_of) - len(set(first_of)),
        joined_texts=tokenized.joined_texts,
    )
