"""How a pass is laid out: contexts end on cache blocks, in the tokens that they really have."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pytest

from icm_annealer.data.examples import Example
from icm_annealer.data.task import Task
from icm_annealer.scoring.cost_model import PassTokens, PrefixCache
from icm_annealer.scoring.passes import PassRequest, PassScorer
from icm_annealer.scoring.prefix_plan import PlanKind
from icm_client import ModelInfo, RequestError, ScorerClient, ScoreRequest, ScorerError, ScoreResponse

BLOCK = 32
TASK = Task(name="words", template="Word: {word}\nKind:", labels={"hot": " hot", "cool": " cool"})


def num_tokens(text: str) -> int:
    """Words, and newlines as GPT-2's rules cut them: one by one in front of a word, together at the end of a text."""
    end = re.search(r"\n+$", text)
    return len(re.findall(r"[^\s]+|\n", text[: end.start()] if end else text)) + (end is not None)


class Counting:
    """A scorer that only counts tokens."""

    async def count_tokens(self, texts: Sequence[str], *, special_tokens: bool = False) -> list[int]:
        return [num_tokens(text) for text in texts]

    async def model(self) -> ModelInfo:
        return ModelInfo(
            name="counting",
            digest="",
            dtype="",
            engine="",
            max_prompt_tokens=8191,
            adds_bos=True,
            cache_block_tokens=BLOCK,
        )

    async def score(self, request: ScoreRequest) -> ScoreResponse:
        raise ScorerError("only tokens are counted here")


@pytest.mark.parametrize("seed", range(5))
async def test_contexts_end_on_a_block_though_a_separator_has_fewer_tokens_by_itself(seed: int) -> None:
    assert num_tokens("\n\n") == 1
    assert num_tokens("\n\nWord: a\nKind:") == num_tokens("Word: a\nKind:") + 2
    rng = np.random.default_rng(seed)
    examples = [
        Example(str(k), f"Word: {' '.join(['w'] * size)}\nKind:", None, {})
        for k, size in enumerate(rng.integers(1, 5, 160))
    ]
    scorer, labels = Counting(), rng.integers(2, size=160)
    model = await scorer.model()
    passes = await PassScorer.open(scorer, TASK, examples, [np.array([k]) for k in range(160)], model)
    plan = passes.plan(PassRequest(labels, np.arange(160), rng.permutation(160), PlanKind("folds", 2)))
    rests = []
    for context in plan.contexts():
        text = TASK.separator.join(examples[i].text + TASK.verbalizers[labels[i]] for i in context)
        rests.append((1 + num_tokens(text + "\n\nWord:")) % BLOCK)  # what all reads behind this context share
    assert np.mean(rests) <= 4


async def test_a_prompt_costs_the_tokens_that_it_has() -> None:
    examples = [Example(str(k), f"Word: {'w ' * k}{k}\nKind:", None, {}) for k in range(30)]
    scorer, labels = Counting(), np.arange(30) % 2
    model = await scorer.model()
    passes = await PassScorer.open(scorer, TASK, examples, [np.array([k]) for k in range(30)], model)
    cache = PrefixCache(await PassTokens.of(passes), BLOCK)
    plan = passes.plan(PassRequest(labels, np.array([3]), np.arange(30), PlanKind("tree")))
    context = TASK.separator.join(examples[i].text + TASK.verbalizers[labels[i]] for i in plan.contexts()[0])
    assert cache.compute(plan, labels) == 1 + num_tokens(context + TASK.separator + examples[3].text)


async def test_a_text_too_long_to_be_counted_is_named_by_its_row(scorer: ScorerClient) -> None:
    with pytest.raises(RequestError, match="the row with the id 'row-2' has"):
        await opened(scorer, ["red", "blue", "warm " * 100_000, "cold"])


async def test_texts_longer_than_the_window_are_named_by_their_rows(scorer: ScorerClient) -> None:
    model = await scorer.model()
    fits, long = "warm " * (model.max_prompt_tokens - 20), "warm " * (model.max_prompt_tokens + 20)
    await opened(scorer, ["red", fits])
    with pytest.raises(RequestError, match=r"2 rows are too long .* 'row-1' \(8,2\d\d\), 'row-3' .* leave them out"):
        await opened(scorer, ["red", long, fits, long])


async def opened(scorer: ScorerClient, texts: list[str]) -> PassScorer:
    examples = [Example(f"row-{number}", text, None, {}) for number, text in enumerate(texts)]
    units = [np.array([number]) for number in range(len(texts))]
    return await PassScorer.open(scorer, TASK, examples, units, await scorer.model())
