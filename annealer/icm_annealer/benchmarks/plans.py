"""Compares the costs of plans on one running engine: tokens, seconds, body bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict
from rich.table import Table

from icm_annealer.benchmarks.results_file import Machine, machine
from icm_annealer.console.progress import RunProgress
from icm_annealer.console.terminal import Terminal
from icm_annealer.data.examples import Example
from icm_annealer.data.task import Task
from icm_annealer.scoring.passes import PassRequest, PassScorer, Scorer
from icm_annealer.scoring.prefix_plan import PlanKind
from icm_client import ModelInfo, ScoreRequest

WORDS = """
time year people way day man thing woman life child world school state family student group country problem
hand part place case week company system program question work government number night point home water room
mother area money story fact month lot right study book eye job word business issue side kind head house
service friend
""".split()  # noqa: SIM905  (a list would be a page long)
TASK = Task(name="bench", template="{text}", labels={"yes": " yes", "no": " no"})
TEMPLATE_TOKENS = 5
"""Tokens of a shot besides its words: the separator, the label and the text before it."""


class PlanRow(BaseModel):
    """One leave-one-out pass."""

    model_config = ConfigDict(strict=True, frozen=True)

    n: int
    shot_tokens: int
    plan: str
    prompt_tokens: int
    computed_tokens: int
    seconds: float
    body_bytes: int
    text_bytes: int
    """Bytes of the prompts if each were sent as text."""
    dropped_shots: int


class PlanFigures(BaseModel):
    """The parts of `bench.json` that this module writes."""

    model_config = ConfigDict(strict=True, frozen=True)

    machine: Machine
    model: dict[str, str]
    plans: list[PlanRow]


async def bench_plans(client: Scorer, sizes: list[int], shot_tokens: list[int], progress: RunProgress) -> PlanFigures:
    """Runs leave-one-out passes over random words with `tree` and then `fixed`, each over texts that are in no
    cache."""
    rng = np.random.default_rng()  # unseeded: new texts each time, since the scorer caches texts
    rows = list[PlanRow]()
    cases = [(n, tokens, plan) for tokens in shot_tokens for n in sizes for plan in ("tree", "fixed")]
    weights = [n * n * tokens if plan == "fixed" else 10 * n * tokens for n, tokens, plan in cases]
    progress.expect(float(sum(weights)))
    model = await client.model()
    for (n, tokens, plan), weight in zip(cases, weights, strict=True):
        progress.status(f"{plan}: {n} examples of {tokens} tokens")
        meter = _Meter(client)
        passes, request = await fresh_pass(meter, model, rng, n, tokens, plan)
        answer = await passes.score(request)
        rows.append(
            PlanRow(
                n=n,
                shot_tokens=tokens,
                plan=plan,
                prompt_tokens=answer.usage.prompt_tokens,
                computed_tokens=answer.usage.computed_tokens,
                seconds=round(answer.seconds, 3),
                body_bytes=meter.body_bytes,
                text_bytes=meter.text_bytes,
                dropped_shots=answer.num_dropped,
            )
        )
        progress.step(float(weight))
    return PlanFigures(machine=machine(), model=model.identity.model_dump(), plans=rows)


async def fresh_pass(
    scorer: Scorer,
    model: ModelInfo,
    rng: np.random.Generator,
    n: int,
    shot_tokens: int,
    plan: str = "tree",
    experiment: str = "bench",
) -> tuple[PassScorer, PassRequest]:
    """A leave-one-out pass over `n` examples of random words, with shots of about the given number of tokens."""
    examples = [Example(str(k), _text(rng, shot_tokens), None, {}) for k in range(n)]
    passes = await PassScorer.open(scorer, TASK, examples, [np.array([k]) for k in range(n)], model, experiment)
    return passes, PassRequest(rng.integers(2, size=n), np.arange(n), rng.permutation(n), PlanKind.parse(plan))


def print_plans(console: Terminal, figures: PlanFigures) -> None:
    """The figures as a table, with `fixed` over `tree`."""
    table = Table(title="A leave-one-out pass: fixed against tree, on the same engine")
    for name in ("shot tokens", "N", "tree tokens", "fixed tokens", "ratio", "tree s", "fixed s", "body / text"):
        table.add_column(name, justify="right")
    by_case: dict[tuple[int, int], dict[str, PlanRow]] = {}
    for row in figures.plans:
        by_case.setdefault((row.shot_tokens, row.n), {})[row.plan] = row
    for (tokens, n), case in by_case.items():
        tree, fixed = case["tree"], case["fixed"]
        table.add_row(
            str(tokens),
            str(n),
            f"{tree.computed_tokens:,}",
            f"{fixed.computed_tokens:,}",
            f"{fixed.computed_tokens / tree.computed_tokens:.1f}",
            f"{tree.seconds:.1f}",
            f"{fixed.seconds:.1f}",
            f"{tree.body_bytes / tree.text_bytes:.1%}",
        )
    console.print(table)


class _Meter:
    """A client that measures the sizes of its requests."""

    def __init__(self, client: Scorer):
        self._client = client
        self.body_bytes = self.text_bytes = 0

    async def score(self, request: ScoreRequest) -> Any:
        self.body_bytes, self.text_bytes = await asyncio.to_thread(_sizes, request)
        return await self._client.score(request)

    async def count_tokens(self, texts: Sequence[str], *, special_tokens: bool = False) -> list[int]:
        return await self._client.count_tokens(texts, special_tokens=special_tokens)

    async def model(self) -> Any:
        return await self._client.model()


def _sizes(request: ScoreRequest) -> tuple[int, int]:
    """Bytes of the body, and of its prompts if each were sent as text."""
    own = [len(segment.encode()) for segment in request.segments]
    prefixes: list[int] = []
    for parent, *segments in request.prefixes:
        prefixes.append(
            (prefixes[parent] if parent is not None else 0) + sum(own[s] for s in segments if s is not None)
        )
    text = 0
    for prompt in request.prompts:
        if not isinstance(prompt, str):
            prefix, *segments = prompt
            text += (prefixes[prefix] if prefix is not None else 0) + sum(own[s] for s in segments if s is not None)
    return len(request.body()), text


def _text(rng: np.random.Generator, tokens: int) -> str:
    words = rng.choice(WORDS, size=max(1, tokens - TEMPLATE_TOKENS))
    return " ".join(words) + "\nAnswer:"
