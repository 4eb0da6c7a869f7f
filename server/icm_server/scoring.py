"""A request's way through the scorer: prefix tree -> tokens -> reads, depth first -> log-probabilities."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from typing import NamedTuple

from icm_client.errors import RequestError, ScorerError
from icm_client.wire import ScoreRequest, ScoreResponse, Usage, is_logprob
from icm_server.engines.base import Engine, ReadAnswer
from icm_server.label_trie import TrieRead
from icm_server.prefix_tokens import PrefixTokenizer, Tokenized, TokenizedPrompt, prompt_too_long
from icm_server.request_tree import depth_first, read_tree


class _Read(NamedTuple):
    """One engine request, for all prompts of the request that have the same tokens and labels."""

    prompt: int
    read: TrieRead


class _Plan(NamedTuple):
    """What a request needs of the engine: its prompts in tokens, for each the first that asks the same, the reads."""

    tokenized: Tokenized
    first_of: list[int]
    reads: list[_Read]


class Scorer:
    """Scores requests on one engine; any number of them at once."""

    def __init__(self, engine: Engine):
        self.engine = engine
        self._tokenizer = PrefixTokenizer(engine.tokenizer, max_prompt_tokens=engine.info.max_prompt_tokens)
        self._tokenizing = asyncio.Lock()
        # A bounded window: a shared prefix must still be in the cache when its next read comes.
        self._window = asyncio.Semaphore(engine.max_concurrent_reads)

    async def score(self, request: ScoreRequest) -> ScoreResponse:
        """Log-probabilities in the order asked. Raises RequestError before anything is computed, or ScorerError."""
        info = self.engine.info
        if request.model != "base" and request.model not in info.adapters:
            raise RequestError(
                f"no model {request.model!r} here; there is {', '.join(['base', *info.adapters])}",
                code="unknown_model",
            )
        async with self._tokenizing:
            plan = await asyncio.to_thread(self._plan, request)
        answers = await self._read_all(plan, request.model)
        by_prompt: dict[int, dict[TrieRead, list[float]]] = {}
        for (prompt, read), answer in zip(plan.reads, answers, strict=True):
            if not all(map(is_logprob, answer.logprobs)):
                raise ScorerError(
                    f"the model answered prompt {prompt} with something that is not a log-probability: it overflows "
                    f"in {info.dtype}, or its weights are broken. Try --dtype float32",
                    code="not_finite",
                )
            by_prompt.setdefault(prompt, {})[read] = answer.logprobs
        rows = {k: plan.tokenized.prompts[k].trie.logprobs(found) for k, found in by_prompt.items()}
        return ScoreResponse(logprobs=[rows[first] for first in plan.first_of], usage=_usage(plan, answers), model=info)

    async def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text by itself."""
        async with self._tokenizing:
            encoded = await asyncio.to_thread(self.engine.tokenizer.encode_many, texts)
        return [len(each.ids) for each in encoded]

    def _plan(self, request: ScoreRequest) -> _Plan:
        """All that needs no engine: slow for large requests, so it runs in a thread, one request at a time."""
        tree = read_tree(request)
        tokenized = self._tokenizer.tokenize(tree, request.terminator)
        self._check_window(tokenized)
        first_of = _first_of(tokenized.prompts)
        numbers = dict.fromkeys(first_of[number] for number in depth_first(tree))
        reads = [_Read(number, read) for number in numbers for read in tokenized.prompts[number].trie.reads]
        return _Plan(tokenized, first_of, reads)

    def _check_window(self, tokenized: Tokenized) -> None:
        """A prompt and the longest path of its labels have to fit; the window's last token is the engine's own."""
        limit = self.engine.info.max_prompt_tokens
        for number, (ids, trie) in enumerate(tokenized.prompts):
            length = len(ids) + trie.max_path
            if length > limit:
                raise prompt_too_long("prompt", number, length, limit)

    async def _read_all(self, plan: _Plan, model: str) -> list[ReadAnswer]:
        """All reads, begun in order; the first failure cancels the others."""
        tasks: list[asyncio.Task[ReadAnswer]] = []
        try:
            async with asyncio.TaskGroup() as group:
                for prompt, read in plan.reads:
                    await self._window.acquire()
                    ids = [*plan.tokenized.prompts[prompt].ids, *read.path]
                    task = group.create_task(self.engine.read(ids, read.ids, model))
                    task.add_done_callback(lambda _: self._window.release())  # also if it never got to run
                    tasks.append(task)
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return [task.result() for task in tasks]


def _first_of(prompts: list[TokenizedPrompt]) -> list[int]:
    """For every prompt the number of the first that asks the same."""
    first: dict[tuple[bytes, int], int] = {}
    return [
        first.setdefault((hashlib.blake2b(prompt.ids, digest_size=16).digest(), id(prompt.trie)), number)
        for number, prompt in enumerate(prompts)
    ]


def _usage(plan: _Plan, answers: list[ReadAnswer]) -> Usage:
    prompts = plan.tokenized.prompts
    read_tokens = sum(len(prompts[prompt].ids) + len(read.path) for prompt, read in plan.reads)
    cached = sum(answer.num_cached_tokens for answer in answers)
    return Usage(
        prompt_tokens=sum(len(prompt.ids) for prompt in prompts),
        computed_tokens=read_tokens - cached,
        cached_tokens=cached,
        num_reads=len(plan.reads),
        reused_prompts=len(plan.first_of) - len(set(plan.first_of)),
        joined_texts=plan.tokenized.joined_texts,
    )
