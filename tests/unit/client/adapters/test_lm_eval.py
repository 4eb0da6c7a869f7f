"""lm-evaluation-harness with a scorer as its model, on its own BoolQ task with rows made here."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from icm_client import RequestError, ScoreRequest, SyncScorerClient

lm_eval = pytest.importorskip("lm_eval")

from lm_eval.api.instance import Instance  # noqa: E402
from lm_eval.tasks import TaskManager  # noqa: E402

from icm_client.adapters.lm_eval import NotKnown, ScorerLM  # noqa: E402

BOOLQ = Path(lm_eval.__file__).parent / "tasks/super_glue/boolq/default.yaml"
WORDS = ["salmon", "hammer", "sparrow", "kettle", "oak", "chisel", "beetle", "lamp"]


@pytest.fixture
def boolq(tmp_path: Path) -> TaskManager:
    """The task as the library has it, but for where its rows come from."""
    rows = [
        {"passage": f"A {word} is mentioned here.", "question": f"is a {word} alive", "label": number % 2}
        for number, word in enumerate(WORDS)
    ]
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    files = {"train": str(data), "validation": str(data)}
    (tmp_path / "task.yaml").write_text(
        f"include: {BOOLQ}\ntask: boolq_made\ntag: null\ndataset_path: json\ndataset_name: null\n"
        f"dataset_kwargs:\n  data_files: {json.dumps(files)}\n  cache_dir: {tmp_path / 'cache'}\n",
        encoding="utf-8",
    )
    return TaskManager(include_path=str(tmp_path), include_defaults=False)


@pytest.mark.parametrize("num_fewshot", [0, 4])
def test_its_own_task(url: str, boolq: TaskManager, num_fewshot: int) -> None:
    found: Any = lm_eval.simple_evaluate(
        model="icm",
        model_args=f"base_url={url}",
        tasks=["boolq_made"],
        task_manager=boolq,
        num_fewshot=num_fewshot,
        bootstrap_iters=0,
    )
    right = []
    with SyncScorerClient(url) as client:
        for sample in found["samples"]["boolq_made"]:
            (context, no), (same, yes) = sample["arguments"]
            assert (same, no, yes) == (context, " no", " yes")
            assert context.count("Question:") == num_fewshot + 1
            row = client.score(ScoreRequest(prompts=[context], labels=[no, yes])).logprobs[0]
            assert [float(answer[0][0]) for answer in sample["resps"]] == row
            right.append(int(row[1] > row[0]) == sample["doc"]["label"])
    assert len(right) == len(WORDS)
    assert found["results"]["boolq_made"]["acc,none"] == pytest.approx(sum(right) / len(right))


def instance(context: str, continuation: str) -> Instance:
    return Instance(request_type="loglikelihood", doc={}, arguments=(context, continuation), idx=0)


def test_answers_that_begin_one_another_and_many_tokens(url: str) -> None:
    asked = [("Q:", " yes"), ("Q:", " yes indeed"), ("R:", " no"), ("Q:", " yes")]
    answers = ScorerLM(url).loglikelihood([instance(*pair) for pair in asked])
    with SyncScorerClient(url) as client:
        direct = [client.score(ScoreRequest(prompts=[c], labels=[t])).logprobs[0][0] for c, t in asked]
    assert [answer[0] for answer in answers] == direct


def test_what_greedy_decoding_does_is_reported_only_where_it_is_known(url: str) -> None:
    shots = "\n\n".join(["Q: yes"] * 8)
    (likely,), (unlikely,) = (
        ScorerLM(url).loglikelihood([instance(f"{shots}\n\nQ:", text)]) for text in (" yes", " no")
    )
    assert likely[0] > math.log(0.5)
    assert likely[1] is True
    assert isinstance(unlikely[1], NotKnown)
    both = [instance(f"{shots}\n\nQ:", text) for text in (" yes", " no")]
    assert [greedy for _, greedy in ScorerLM(url).loglikelihood(both)] == [True, False]
    with pytest.raises(RequestError, match="rank given answers"):
        int(unlikely[1])


def test_what_a_scorer_cannot_do_is_said(url: str) -> None:
    with pytest.raises(RequestError, match="does not generate text"):
        ScorerLM(url).generate_until([])
    with pytest.raises(RequestError, match="perplexity"):
        ScorerLM(url).loglikelihood_rolling([])
