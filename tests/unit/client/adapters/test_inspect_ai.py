"""inspect_ai with a scorer as its model: its own multiple choice, and answers of the caller's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from icm_client import ScoreRequest, SyncScorerClient

inspect_ai = pytest.importorskip("inspect_ai")

from inspect_ai import Task, eval  # noqa: E402
from inspect_ai.dataset import Sample  # noqa: E402
from inspect_ai.model import get_model  # noqa: E402
from inspect_ai.scorer import choice, includes  # noqa: E402
from inspect_ai.solver import generate, multiple_choice  # noqa: E402

import icm_client.adapters.inspect_ai  # noqa: E402, F401  (registers `icm`)

WORDS = ["salmon", "hammer", "sparrow", "kettle", "oak", "chisel"]


def evaluated(task: Task, folder: Path, url: str, **model_args: Any) -> Any:
    model = get_model("icm/base", base_url=url, memoize=False, **model_args)
    (log,) = eval(task, model=model, log_dir=str(folder), display="none", score_display=False)
    return log


def test_its_own_multiple_choice(url: str, tmp_path: Path) -> None:
    kinds = ["an animal", "a tool", "a plant"]
    samples = [
        Sample(input=f"What is a {word}?", choices=kinds, target="ABC"[number % 3]) for number, word in enumerate(WORDS)
    ]
    log = evaluated(Task(dataset=samples, solver=multiple_choice(), scorer=choice()), tmp_path, url)
    assert log.status == "success", log.error
    right = 0
    with SyncScorerClient(url) as client:
        for sample in log.samples:
            prompt = sample.messages[0].text
            assert prompt.startswith("Answer the following multiple choice question")
            row = client.score(ScoreRequest(prompts=[f"{prompt}\n\nANSWER:"], labels=[" A", " B", " C"])).logprobs[0]
            best = "ABC"[row.index(max(row))]
            assert sample.output.completion == f"ANSWER: {best}"
            found = {each.token: each.logprob for each in sample.output.choices[0].logprobs.content[0].top_logprobs}
            assert found == dict(zip("ABC", row, strict=True))
            right += best == sample.target
    assert len(log.samples) == len(WORDS)
    assert log.results.scores[0].metrics["accuracy"].value == pytest.approx(right / len(WORDS))


def test_answers_of_the_callers(url: str, tmp_path: Path) -> None:
    shots = "\n\n".join(f"Word: {word}\nIs it alive? yes" for word in WORDS)
    task = Task(dataset=[Sample(input=f"{shots}\n\nWord: beetle", target="yes")], solver=generate(), scorer=includes())
    log = evaluated(task, tmp_path, url, labels="no,yes", answer="Is it alive?")
    assert log.status == "success", log.error
    assert log.results.scores[0].metrics["accuracy"].value == 1.0


def test_a_prompt_without_given_answers_is_refused(url: str, tmp_path: Path) -> None:
    task = Task(dataset=[Sample(input="What is a salmon?", target="fish")], solver=generate(), scorer=includes())
    log = evaluated(task, tmp_path, url)
    assert log.status == "error"
    assert "-M labels=yes,no" in log.error.message
