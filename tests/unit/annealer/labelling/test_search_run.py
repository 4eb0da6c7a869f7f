"""Whole searches on the fake engine: what they find, and that the same answers give the same bytes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import planted
from tests.conftest import Serving

from icm_annealer.data.examples import Example, consistency_of, labels_of
from icm_annealer.data.task import Task
from icm_annealer.evaluation.many_shot import ManyShot, accuracy
from icm_annealer.labelling.label_dataset import label_dataset
from icm_annealer.labelling.search_run import run_search
from icm_annealer.runs.directory import COSTS, JOURNAL, LABELS, RunDir
from icm_annealer.scoring.pass_event import PassEvent
from icm_annealer.scoring.passes import Scorer
from icm_annealer.searches.blocks import BlockSettings
from icm_annealer.searches.gibbs import GibbsSettings
from icm_annealer.searches.joint import JointSettings
from icm_annealer.searches.official import OfficialSettings
from icm_annealer.searches.registry import BUILT_IN
from icm_annealer.searches.settings import Settings
from icm_client import ModelInfo, ScorerClient, ScoreRequest, ScorerError, ScoreResponse

QUICK = Settings(options=BlockSettings(num_chains=2, max_passes=4, num_final_orders=2))
PAIRED = planted.TASK + "group: pair\nleave_out: group\nrules: [{kind: mirrored}]\n"


async def journal_of(folder: Path, task_file: Path, scorer: Scorer, settings: Settings = QUICK) -> bytes:
    loaded_task, loaded = planted.load(task_file)
    place = RunDir(folder)
    place.prepare()
    await label_dataset(place, loaded.examples, loaded_task.task, scorer, settings)
    return (folder / JOURNAL).read_bytes()


class Watched:
    """A scorer that remembers what it was asked."""

    def __init__(self, scorer: Scorer):
        self._scorer = scorer
        self.requests: list[ScoreRequest] = []

    async def model(self) -> ModelInfo:
        return await self._scorer.model()

    async def count_tokens(self, texts: Sequence[str], *, special_tokens: bool = False) -> list[int]:
        return await self._scorer.count_tokens(texts, special_tokens=special_tokens)

    async def score(self, request: ScoreRequest) -> ScoreResponse:
        self.requests.append(request)
        return await self._scorer.score(request)


def prompts(request: ScoreRequest) -> list[str]:
    """Every prompt's whole text."""
    paths: list[str] = []
    for parent, *appended in request.prefixes:
        text = "" if parent is None else paths[parent]
        paths.append(text + "".join(request.segments[each] for each in appended if each is not None))
    texts = []
    for prompt in request.prompts:
        assert not isinstance(prompt, str)
        prefix, *appended = prompt
        tail = "".join(request.segments[each] for each in appended if each is not None)
        texts.append(tail if prefix is None else paths[prefix] + tail)
    return texts


@pytest.mark.parametrize(
    ("plan", "seed"),
    [
        ("tree", 0),
        pytest.param("tree", 1, marks=pytest.mark.slow),
        ("folds=8", 2),
        pytest.param("folds=8", 3, marks=pytest.mark.slow),
    ],
)
async def test_block_search_finds_a_planted_concept(tmp_path: Path, scorer: ScorerClient, seed: int, plan: str) -> None:
    loaded_task, loaded = planted.load(planted.write_task(tmp_path, 32, seed=seed))
    run = await run_search(loaded.examples, loaded_task.task, scorer, Settings(seed=seed, plan=plan))
    assert planted.right(run.labels, labels_of(loaded.examples, loaded.gold, loaded_task.task)) >= 0.95
    assert run.result.winner.u > 0.3


async def test_a_rule_is_kept_in_the_labels(tmp_path: Path, scorer: ScorerClient) -> None:
    loaded_task, loaded = planted.load(planted.write_task(tmp_path, 32, task=PAIRED))
    run = await run_search(loaded.examples, loaded_task.task, scorer, Settings())
    judge = consistency_of(loaded_task.task, loaded.examples)
    assert len(judge.groups) == 16
    assert all(judge.num_contradictions(candidate.labels) == 0 for candidate in run.result.candidates)
    assert planted.right(run.labels, labels_of(loaded.examples, loaded.gold, loaded_task.task)) >= 0.95


@pytest.mark.parametrize("search", ["blocks", pytest.param("official", marks=pytest.mark.slow)])
async def test_gold_never_reaches_the_search(tmp_path: Path, scorer: ScorerClient, search: str) -> None:
    task_file = planted.write_task(tmp_path / "data", 12, task=PAIRED)
    options = OfficialSettings(iterations_per_example=1.0)
    settings = QUICK if search == "blocks" else Settings(search=search, options=options)
    journals = [await journal_of(tmp_path / "run-0" / "run", task_file, scorer, settings)]
    data = planted.rows(12)
    rng = np.random.default_rng(0)
    permuted = [data[i]["label"] for i in rng.permutation(len(data))]
    assert permuted != [row["label"] for row in data]
    variants: list[list[dict[str, Any]]] = [
        [{**row, "label": gold} for row, gold in zip(data, permuted, strict=True)],
        [{**row, "label": "hot"} for row in data],
        [{key: value for key, value in row.items() if key != "label"} for row in data],
    ]
    for number, variant in enumerate(variants, start=1):
        planted.write_rows(tmp_path / "data" / "data.jsonl", variant)
        journals.append(await journal_of(tmp_path / f"run-{number}" / "run", task_file, scorer, settings))
    assert len(set(journals)) == 1
    labels = [(tmp_path / f"run-{number}" / "run" / LABELS).read_bytes() for number in range(4)]
    assert len(set(labels)) == 1


@pytest.mark.slow
async def test_the_same_seed_gives_the_same_bytes_however_it_is_sent(tmp_path: Path, serving: Serving) -> None:
    task_file = planted.write_task(tmp_path / "data", 20, task=PAIRED)
    ways: list[dict[str, Any]] = [
        {},
        {},
        {"max_prompts": 3},
        {"max_prompts": 7, "max_concurrent_reads": 5},
        {"max_concurrent_reads": 1},
        {"max_concurrent_reads": 64, "delay_s": 0.001},
    ]
    journals = set()
    for number, way in enumerate(ways):
        async with serving(**way) as scorer:
            journals.add(await journal_of(tmp_path / str(number), task_file, scorer))
    assert len(journals) == 1
    async with serving() as scorer:
        other = await journal_of(tmp_path / "other", task_file, scorer, QUICK.model_copy(update={"seed": 1}))
    assert other not in journals


@pytest.mark.slow
async def test_runs_at_the_same_time_do_not_touch_each_other(tmp_path: Path, scorer: ScorerClient) -> None:
    files = [planted.write_task(tmp_path / f"data-{seed}", 12, seed=seed) for seed in range(2)]
    alone = [await journal_of(tmp_path / f"alone-{k}", file, scorer) for k, file in enumerate(files)]
    jobs = [journal_of(tmp_path / f"together-{k}", file, scorer) for k, file in enumerate(files)]
    assert await asyncio.gather(*jobs) == alone


async def test_official_search_runs_to_its_end_with_a_rule(tmp_path: Path, scorer: ScorerClient) -> None:
    loaded_task, loaded = planted.load(planted.write_task(tmp_path, 16, task=PAIRED))
    events: list[PassEvent] = []
    run = await run_search(
        loaded.examples, loaded_task.task, scorer, Settings(search="official"), on_pass=events.append
    )
    assert sorted(set(run.labels.tolist())) == [0, 1]
    assert run.num_passes == len(events) == events[-1].number
    assert {event.request.purpose for event in events} >= {"zero-shot", "official", "propose", "finalists"}
    assert run.result.notes["num_accepted"] >= 1
    first = next(event.u for event in events if event.request.purpose == "official")
    assert first is not None
    assert run.result.winner.u_own > first


LETTERS = [f"letter {chr(ord('a') + number)}" for number in range(26)]


def letters(num: int, start: int = 0) -> tuple[list[Example], np.ndarray[Any, np.dtype[np.int64]]]:
    """Examples of 26 classes whose words tell their class."""
    gold = np.array([(start + number) % 26 for number in range(num)])
    examples = [
        Example(f"{start + k}", f"Item: stem{c} root{c} leaf{k % 3}\nClass:", None, {}) for k, c in enumerate(gold)
    ]
    return examples, gold


@pytest.mark.slow
async def test_26_classes_with_labels_of_several_tokens(scorer: ScorerClient) -> None:
    task = Task(
        name="letters",
        template="Item: {item}\nClass:",
        labels={name: [f" {name}", f" {name.upper()}"] for name in LETTERS},
    )
    examples, gold = letters(52)
    watched = Watched(scorer)
    run = await run_search(examples, task, watched, QUICK)
    assert all(len(request.labels) == 26 for request in watched.requests)
    rows = run.rows("here")
    assert all(list(row.probs) == LETTERS and abs(sum(row.probs.values()) - 1) < 1e-4 for row in rows)
    assert set(run.labels.tolist()) <= set(range(26))
    test, test_gold = letters(26)
    many_shot = await ManyShot.open(scorer, task, examples, test, run.model)
    zero_shot = accuracy((await many_shot.predict(None)).raw, test_gold)
    behind_gold = accuracy((await many_shot.predict(gold)).raw, test_gold)
    assert behind_gold.value >= 0.95
    assert zero_shot.value <= 0.2


@pytest.mark.parametrize("search", BUILT_IN)
async def test_without_rules_every_label_has_the_highest_of_its_probabilities(
    scorer: ScorerClient, search: str
) -> None:
    options = {
        "official": OfficialSettings(iterations_per_example=0.5),
        "gibbs": GibbsSettings(num_burn_in=1, num_samples=2),
        "joint": JointSettings(num_rounds=2),
    }
    names, has_scores = LETTERS[:4], search != "official"
    task = Task(name="letters", template="Item: {item}\nClass:", labels={name: f" {name}" for name in names})
    for seed, num in ((0, 3), (1, 16)):
        settings = Settings(search=search, seed=seed, options=options.get(search))
        run = await run_search(letters(num)[0], task, scorer, settings)
        assert (run.result.winner.scores is not None) == has_scores
        for row in run.rows():
            assert list(row.probs) == list(row.context_probs) == names
            assert row.certainty == (max(row.probs.values()) if has_scores else row.probs[row.label])
            assert has_scores or row.probs == row.context_probs


async def test_contexts_are_shots_parted_by_the_separator(tmp_path: Path, scorer: ScorerClient) -> None:
    loaded_task, loaded = planted.load(planted.write_task(tmp_path, 8))
    watched = Watched(scorer)
    events: list[PassEvent] = []
    settings = Settings(plan="tree", options=BlockSettings(num_chains=1, max_passes=1, num_final_orders=1))
    await run_search(loaded.examples, loaded_task.task, watched, settings, on_pass=events.append)
    texts = [example.text for example in loaded.examples]
    assert sorted(prompts(watched.requests[0])) == sorted(texts)  # zero-shot: nothing in front
    labels, request = events[-1].request.labels, watched.requests[-1]
    shots = {text + (" hot", " cool")[labels[number]] for number, text in enumerate(texts)}
    for prompt in prompts(request):
        *context, query = prompt.split("\n\n")
        assert query in texts
        assert len(context) == len(texts) - 1
        assert set(context) == {shot for shot in shots if not shot.startswith(query)}


async def test_whole_groups_are_left_out(tmp_path: Path, scorer: ScorerClient) -> None:
    loaded_task, loaded = planted.load(planted.write_task(tmp_path, 12, task=PAIRED))
    group = {example.text: example.group for example in loaded.examples}
    watched = Watched(scorer)
    await run_search(loaded.examples, loaded_task.task, watched, QUICK)
    for request in watched.requests[1:]:
        for prompt in prompts(request):
            *context, query = prompt.split("\n\n")
            assert context
            assert group[query] not in {group[shot.rsplit(" ", 1)[0]] for shot in context}


async def test_a_small_window_is_kept_and_reported(tmp_path: Path, serving: Serving) -> None:
    loaded_task, loaded = planted.load(planted.write_task(tmp_path, 40))
    events: list[PassEvent] = []
    async with serving(max_prompt_tokens=120) as scorer:
        run = await run_search(loaded.examples, loaded_task.task, scorer, Settings(plan="tree"), on_pass=events.append)
    assert run.model.max_prompt_tokens == 120
    finalists = [event.answer for event in events if event.request.purpose == "finalists"]
    assert finalists
    assert all(answer.num_dropped > 0 for answer in finalists)
    # Still some context: about 15 shots of 7 tokens fit, and the rate of characters to tokens was learnt.
    assert all(answer.usage.prompt_tokens > 40 * 60 for answer in finalists)


async def test_fresh_orders_for_every_pass_and_common_ones_for_the_finalists(
    tmp_path: Path, scorer: ScorerClient
) -> None:
    loaded_task, loaded = planted.load(planted.write_task(tmp_path, 20))
    events: list[PassEvent] = []
    run = await run_search(loaded.examples, loaded_task.task, scorer, Settings(), on_pass=events.append)
    chains = [tuple(event.request.order.tolist()) for event in events if event.request.purpose.startswith("chain")]
    assert len(set(chains)) == len(chains)
    finalists = [tuple(event.request.order.tolist()) for event in events if event.request.purpose == "finalists"]
    num_candidates = len(run.result.candidates)
    assert len(set(finalists[:num_candidates])) == 1  # all answers on the first order
    assert len(set(finalists)) == BlockSettings().num_final_orders
    assert not set(finalists) & set(chains)
    us = [candidate.u for candidate in run.result.candidates]
    assert us == sorted(us, reverse=True)


class OtherModel(Watched):
    """A scorer that is exchanged for another after some requests."""

    async def score(self, request: ScoreRequest) -> ScoreResponse:
        answer = await super().score(request)
        if len(self.requests) < 4:
            return answer
        return answer.model_copy(update={"model": answer.model.model_copy(update={"digest": "another"})})


async def test_a_scorer_that_changes_its_model_ends_the_run(tmp_path: Path, scorer: ScorerClient) -> None:
    loaded_task, loaded = planted.load(planted.write_task(tmp_path, 8))
    with pytest.raises(ScorerError, match="another model"):
        await run_search(loaded.examples, loaded_task.task, OtherModel(scorer))


async def test_the_run_folder_holds_labels_and_costs(tmp_path: Path, scorer: ScorerClient) -> None:
    task_file = planted.write_task(tmp_path / "data", 12)
    await journal_of(tmp_path / "run", task_file, scorer)
    rows = [json.loads(line) for line in (tmp_path / "run" / LABELS).read_text().splitlines()]
    assert [row["id"] for row in rows] == [example.id for example in planted.load(task_file)[1].examples]
    for row in rows:
        assert list(row) == ["id", "label", "probs", "margin", "context_probs", "label_mass", "group", "run"]
        assert row["run"] == "run"
        assert 0 < row["label_mass"] <= 1
        assert row["margin"] > 0  # no rule here wants another label than the likeliest
    costs = [json.loads(line) for line in (tmp_path / "run" / COSTS).read_text().splitlines()]
    assert [cost["pass"] for cost in costs] == [*range(1, len(costs)), None]
    assert all(cost["computed_tokens"] + cost["cached_tokens"] >= cost["prompt_tokens"] > 0 for cost in costs)


async def test_a_single_example_and_the_smallest_sets(scorer: ScorerClient, tmp_path: Path) -> None:
    loaded_task, loaded = planted.load(planted.write_task(tmp_path, 8))
    for num in (1, 2, 3):
        for search in (QUICK, Settings(search="official", options=OfficialSettings(num_final_orders=1))):
            run = await run_search(loaded.examples[:num], loaded_task.task, scorer, search)
            assert len(run.rows()) == num
