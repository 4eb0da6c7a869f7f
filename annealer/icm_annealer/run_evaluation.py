"""How well a run's labels prompt the model on examples that were not labelled, beside none and gold ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from icm_annealer.arrays import Array, Ints
from icm_annealer.estimates import Estimate, median_over_seeds
from icm_annealer.evaluate import ManyShot, accuracy
from icm_annealer.examples import Example, Loaded, groups_of, labels_of, sample
from icm_annealer.objective import calibrated
from icm_annealer.passes import Scorer
from icm_annealer.progress import RunProgress
from icm_annealer.quality import Judged, Resamples, accuracies, gap_recovered, point, quality
from icm_annealer.task import Task
from icm_client.errors import RequestError
from icm_client.wire import ModelInfo, Usage

KINDS = ("raw", "calibrated")
NUM_RESAMPLED_SEEDS = 10_000


@dataclass(frozen=True)
class EvaluationPlan:
    """What an evaluation does. A seed draws examples and test examples, where not all are taken, and two orders."""

    num_examples: int | None = None
    """How many of the labelled examples stand in the context; None for all."""
    num_test: int = 200
    """The most test examples of a seed."""
    num_seeds: int = 1
    first_seed: int = 0


@dataclass(frozen=True)
class Shots:
    """The labelled examples: what the run found of them, and gold (-1 where there is none)."""

    examples: Sequence[Example]
    found: Ints
    gold: Ints


@dataclass(frozen=True)
class SeedEvaluation:
    """One seed's figures by method and kind (raw, calibrated), and what the gap recovered is computed from."""

    seed: int
    num_examples: int
    num_test: int
    figures: dict[str, dict[str, dict[str, Estimate]]]
    gap: dict[str, Estimate]
    usage: Usage


def unseen(test: Loaded, examples: Sequence[Example], *, same_file: bool) -> list[Example]:
    """Test examples with a gold label that are none of `examples`: of another text, and where both come of one file,
    also of another id and group. Raises RequestError if none is left."""
    texts = {example.text for example in examples}
    ids = {example.id for example in examples} if same_file else set()
    groups = {example.group for example in examples if example.group is not None} if same_file else set()
    left = [e for e in test.examples if e.text not in texts and e.id not in ids and e.group not in groups]
    known = [e for e in left if e.id in test.gold]
    if not known:
        raise RequestError(
            f"nothing to test on: of {len(test.examples):,} examples {len(left):,} were not labelled by the run (or "
            f"tied to one that was), and {len(known):,} of them have gold labels; name others with --test"
        )
    return known


async def evaluate_run(
    shots: Shots,
    test: Sequence[Example],
    gold: dict[str, str],
    task: Task,
    scorer: Scorer,
    plan: EvaluationPlan,
    progress: RunProgress,
) -> dict[str, Any]:
    """All seeds, one after the other; returns what `eval.json` holds. `gold` is the test examples'."""
    model = await scorer.model()
    methods = ["zero_shot", "icm", *(["gold"] if (shots.gold >= 0).all() else [])]
    progress.expect(plan.num_seeds * len(methods))
    seeds = []
    for seed in range(plan.first_seed, plan.first_seed + plan.num_seeds):
        seeds.append(await _one_seed(shots, test, gold, task, scorer, model, plan, seed, methods, progress))
    usage = sum((seed.usage for seed in seeds), Usage())
    return {
        "model": model.model_dump(include={"name", "digest", "dtype", "engine"}),
        "num_examples": seeds[0].num_examples,
        "num_test": seeds[0].num_test,
        "num_unseen": len(test),
        "label_accuracy": accuracy(shots.found, shots.gold).described() if (shots.gold >= 0).any() else None,
        "intervals": _intervals(plan, is_grouped=_is_grouped(test)),
        "ece_bins": "15 of equal width",
        "figures": _described(_over_seeds(seeds)),
        "gap_recovered": {kind: gap.described() for kind, gap in _gap_over_seeds(seeds).items()},
        "computed_tokens": usage.computed_tokens,
        "cached_tokens": usage.cached_tokens,
        "seeds": [
            {
                "seed": seed.seed,
                "figures": _described(seed.figures),
                "gap_recovered": {kind: gap.described() for kind, gap in seed.gap.items()},
            }
            for seed in seeds
        ],
    }


async def _one_seed(
    shots: Shots,
    test: Sequence[Example],
    gold: dict[str, str],
    task: Task,
    scorer: Scorer,
    model: ModelInfo,
    plan: EvaluationPlan,
    seed: int,
    methods: Sequence[str],
    progress: RunProgress,
) -> SeedEvaluation:
    rng = np.random.default_rng(seed)
    drawn, found, gold_shots = shots.examples, shots.found, shots.gold
    if plan.num_examples is not None:
        drawn, _ = sample(shots.examples, plan.num_examples, 0, rng)
        place = {example.id: number for number, example in enumerate(shots.examples)}
        numbers = np.array([place[example.id] for example in drawn])
        found, gold_shots = found[numbers], gold_shots[numbers]
    tested = list(test) if len(test) <= plan.num_test else sample(test, 0, plan.num_test, rng)[1]
    wanted = labels_of(tested, gold, task)
    many_shot = await ManyShot.open(scorer, task, drawn, tested, model, seed=seed)
    labels = {"zero_shot": None, "icm": found, "gold": gold_shots}
    resamples = Resamples(_units(tested), seed)
    judged: dict[str, dict[str, Judged]] = {}
    usage = Usage()
    for method in methods:
        progress.status(f"seed {seed}: testing on {len(tested)} unseen examples: {method.replace('_', '-')}")
        predictions = await many_shot.predict(labels[method])
        usage = usage + predictions.usage
        logprobs = {"raw": predictions.logprobs, "calibrated": calibrated(predictions.logprobs)}
        judged[method] = {kind: Judged(logprobs[kind], wanted) for kind in KINDS}
        progress.step()
    is_grouped = _is_grouped(tested)
    figures = {
        method: {kind: quality(one, resamples, is_grouped=is_grouped) for kind, one in kinds.items()}
        for method, kinds in judged.items()
    }
    gap = {kind: _gap([judged[method][kind] for method in methods], resamples) for kind in KINDS if "gold" in judged}
    return SeedEvaluation(seed, len(drawn), len(tested), figures, gap, usage)


def _gap(judged: Sequence[Judged], resamples: Resamples) -> Estimate:
    """Of zero-shot, ours and gold, over the same draws of examples."""
    values = [point(accuracies, one) for one in judged]
    return gap_recovered(values, [np.concatenate([accuracies(one, w) for w in resamples]) for one in judged])


def _over_seeds(seeds: Sequence[SeedEvaluation]) -> dict[str, dict[str, dict[str, Estimate]]]:
    """One seed's own figures; of several the median, with an interval over the seeds."""
    first = seeds[0].figures
    if len(seeds) == 1:
        return first
    return {
        method: {
            kind: {name: _median([seed.figures[method][kind][name].value for seed in seeds]) for name in figures}
            for kind, figures in kinds.items()
        }
        for method, kinds in first.items()
    }


def _gap_over_seeds(seeds: Sequence[SeedEvaluation]) -> dict[str, Estimate]:
    """Of several seeds: of their median accuracies, over draws of seeds."""
    if len(seeds) == 1 or not seeds[0].gap:
        return seeds[0].gap
    draws = np.random.default_rng(0).integers(len(seeds), size=(NUM_RESAMPLED_SEEDS, len(seeds)))
    gaps = {}
    for kind in KINDS:
        values = [_seed_accuracies(seeds, method, kind) for method in ("zero_shot", "icm", "gold")]
        medians = [np.median(value[draws], axis=1) for value in values]
        gaps[kind] = gap_recovered([float(np.median(value)) for value in values], medians)
    return gaps


def _seed_accuracies(seeds: Sequence[SeedEvaluation], method: str, kind: str) -> Array:
    return np.array([seed.figures[method][kind]["accuracy"].value for seed in seeds])


def _median(values: Sequence[float]) -> Estimate:
    known = [value for value in values if not np.isnan(value)]
    return median_over_seeds(known) if known else Estimate(float("nan"), float("nan"), float("nan"))


def _units(examples: Sequence[Example]) -> Ints:
    """The number of each example's group."""
    units = np.zeros(len(examples), dtype=np.int64)
    for number, group in enumerate(groups_of(examples)):
        units[group] = number
    return units


def _is_grouped(examples: Sequence[Example]) -> bool:
    return any(len(group) > 1 for group in groups_of(examples))


def _intervals(plan: EvaluationPlan, *, is_grouped: bool) -> str:
    if plan.num_seeds > 1:
        return "95 %, bootstrap of the median over seeds"
    if is_grouped:
        return "95 %, bootstrap over groups of test examples"
    return "95 %, Wilson's for accuracy, else bootstrap over test examples"


def _described(figures: dict[str, dict[str, dict[str, Estimate]]]) -> dict[str, Any]:
    return {
        method: {kind: {name: e.described() for name, e in estimates.items()} for kind, estimates in kinds.items()}
        for method, kinds in figures.items()
    }
