"""`vllm serve` as a scorer: it answers what our own scorer answers."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from tests import planted
from tests.engine.test_oracle import LABELS, TOLERANCE, tree, worst

from icm_annealer.labelling.search_run import run_search
from icm_annealer.searches.blocks import BlockSettings
from icm_annealer.searches.settings import Settings
from icm_client import ModelInfo, OpenAIScorer, ScoreRequest
from icm_client.http.retry import RetryPolicy
from icm_server.engines.vllm import VllmEngine
from icm_server.scheduling.scoring import ScoringService

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="session")]

WAITING = RetryPolicy(patience_s=300.0, max_wait_s=0.5)
"""Soon there when vLLM has started, which takes it some fifteen seconds: waits that double would last as long again."""


async def test_stock_vllm_answers_what_our_own_scorer_does(stock_vllm: str, tiny_engine: VllmEngine) -> None:
    request = ScoreRequest(**tree(3, num_contexts=10, num_queries=5, num_shots=8), labels=LABELS[:4])
    ours = await ScoringService(tiny_engine).score(request)
    start = time.monotonic()
    async with await OpenAIScorer.open(stock_vllm, retry=WAITING) as scorer:
        print(f"\nprobed after {time.monotonic() - start:.1f} s: {scorer.notes}")
        start = time.monotonic()
        theirs = await scorer.score(request)
        print(f"{len(request.prompts)} prompts in {time.monotonic() - start:.2f} s: {theirs.usage}")
        info = theirs.model
        assert await scorer.count_tokens(["Word: salmon", ""]) == await ScoringService(tiny_engine).count_tokens(
            ["Word: salmon", ""]
        )
    print(f"furthest apart: {worst(theirs.logprobs, ours.logprobs):.2e} nats; {info}")
    assert worst(theirs.logprobs, ours.logprobs) <= TOLERANCE
    assert theirs.usage.prompt_tokens == ours.usage.prompt_tokens
    assert theirs.usage.num_reads == ours.usage.num_reads
    assert 0 < theirs.usage.cached_tokens < theirs.usage.prompt_tokens
    assert (info.name, info.max_prompt_tokens, info.adds_bos, info.cache_block_tokens) == ("tiny", 1023, True, 32)
    assert info.engine.startswith("vllm 0.")


class Own(ScoringService):
    """Our own scorer, without HTTP between."""

    async def model(self) -> ModelInfo:
        return self.engine.info


async def test_a_run_on_stock_vllm_finds_the_same_labels(
    stock_vllm: str, tiny_engine: VllmEngine, tmp_path: Path
) -> None:
    task, loaded = planted.load(planted.write_task(tmp_path, 12))
    settings = Settings(options=BlockSettings(num_chains=2, max_passes=2))
    ours = await run_search(loaded.examples, task.task, Own(tiny_engine), settings)
    async with await OpenAIScorer.open(stock_vllm, retry=WAITING) as scorer:
        theirs = await run_search(loaded.examples, task.task, scorer, settings)
    assert theirs.labels.tolist() == ours.labels.tolist()
    assert theirs.num_passes == ours.num_passes > 5
    assert theirs.result.winner.logprobs == pytest.approx(ours.result.winner.logprobs, abs=TOLERANCE)
