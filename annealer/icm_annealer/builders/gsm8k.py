"""Samples solutions to GSM8K problems from a language model; a solution is right if its final answer is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from icm_annealer.builders.built import Built, Report, text_of
from icm_annealer.builders.completions import Completions
from icm_annealer.builders.final_answer import Solution, final_answer, plain
from icm_annealer.sources.row import Row
from icm_client.contract.errors import RequestError
from icm_client.openai_compat.gathered import gathered
from icm_client.text.counts import counted

WORKED = """\
Question: A baker sells 12 rolls an hour. She works from 7 to 11 in the morning, and 9 rolls are left over at the end. \
How many rolls did she bake?
Answer: From 7 to 11 are 4 hours. In 4 hours she sells 4 * 12 = 48 rolls. With the 9 that are left she baked \
48 + 9 = 57 rolls. The answer is 57.

Question: Tom has twice as many stamps as Ann. Together they have 54 stamps. How many stamps does Tom have?
Answer: Ann has one share and Tom two, so 54 stamps are 3 shares. One share is 54 / 3 = 18 stamps. Tom has \
2 * 18 = 36 stamps. The answer is 36.

Question: A ticket costs $8 for adults and half as much for children. What do two adults and five children pay?
Answer: A child's ticket costs 8 / 2 = 4 dollars. Two adults pay 2 * 8 = 16 dollars and five children 5 * 4 = 20 \
dollars. Together they pay 16 + 20 = 36 dollars. The answer is 36.

Question: A tank holds 240 litres and is a quarter full. Water runs in at 15 litres a minute. After how many minutes \
is it full?
Answer: A quarter of 240 is 240 / 4 = 60 litres. There is room for 240 - 60 = 180 litres. At 15 litres a minute that \
takes 180 / 15 = 12 minutes. The answer is 12.

"""
"""Worked problems, written for this project, that show a base model the format of a solution."""

MAX_ROUNDS = 4
"""The most requests per problem for solutions that are still missing."""


class MathProblem(NamedTuple):
    """One problem with its reference answer."""

    number: int
    question: str
    answer: str


@dataclass(frozen=True)
class Sampling:
    """How solutions are sampled."""

    num_solutions: int = 4
    temperature: float = 0.7
    max_tokens: int = 320
    seed: int = 0
    num_connections: int = 16


async def solutions(problems: list[MathProblem], endpoint: Completions, sampling: Sampling, report: Report) -> Built:
    """Distinct solutions of every problem, in order; gold says whether the final answer is the reference answer.

    Solutions without a final answer are left out, so some problems may get fewer. Raises the endpoint's errors, and
    then cancels the remaining problems.
    """
    num_done = 0

    async def solve(problem: MathProblem) -> list[Solution]:
        nonlocal num_done
        found = await _solve(problem, endpoint, sampling)
        num_done += 1
        report(f"{num_done} of {len(problems)} problems solved")
        return found

    rows: list[dict[str, Any]] = []
    few = 0
    for problem, found in zip(problems, await gathered(solve, problems, sampling.num_connections), strict=True):
        few += len(found) < sampling.num_solutions
        for place, solution in enumerate(found):
            rows.append(
                {
                    "id": f"gsm8k-{problem.number:04d}-{place}",
                    "question": problem.question,
                    "cot": solution.text,
                    "answer": solution.answer,
                    "label": solution.answer == problem.answer,
                    "consistency_id": problem.number,
                }
            )
    note = f"{counted(few, 'problem')} got fewer than {sampling.num_solutions} different solutions with a final answer"
    return Built(rows, [note] if few else [])


def problems_of(rows: Iterable[Row], max_problems: int | None = None) -> list[MathProblem]:
    """Problems from rows with `question` and `answer` (GSM8K's "... #### 600", or the number alone)."""
    problems: list[MathProblem] = []
    for number, row in enumerate(rows):
        if number == max_problems:
            break
        reference = text_of(row, "answer").rpartition("####")[2].strip()
        found = final_answer(f"#### {reference}")
        if found is None:
            raise RequestError(f"{row.where}: the answer {reference[:40]!r} is not a number", code="bad_data")
        problems.append(MathProblem(number, text_of(row, "question"), plain(found.answer)))
    return problems


async def _solve(problem: MathProblem, endpoint: Completions, sampling: Sampling) -> list[Solution]:
    prompt = f"{WORKED}Question: {problem.question}\nAnswer:"
    found: dict[str, Solution] = {}
    for round_number in range(MAX_ROUNDS):
        missing = sampling.num_solutions - len(found)
        if missing <= 0:
            break
        state = np.random.SeedSequence([sampling.seed, problem.number, round_number]).generate_state(1)
        texts = await endpoint.sample(
            prompt,
            num=missing,
            seed=int(state[0] >> 1),  # servers require a signed 32-bit integer
            temperature=sampling.temperature,
            max_tokens=sampling.max_tokens,
            stop=["\n\n", "\nQuestion:", "\nQ:"],
        )
        for text in texts[:missing]:
            solution = final_answer(text)
            if solution is not None:
                found.setdefault(solution.text, solution)
    return list(found.values())
