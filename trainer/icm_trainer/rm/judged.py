"""How often a reward model is right about pairs, how well it knows, and whether it goes by length."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from pydantic import Field

from icm_annealer.core.arrays import Array
from icm_annealer.core.estimate import Estimate
from icm_annealer.data.examples import groups_of, load_examples
from icm_annealer.data.task import Task
from icm_annealer.evaluation.intervals import wilson
from icm_annealer.evaluation.metrics import Resamples, calibration_error, interval
from icm_annealer.evaluation.run_evaluation import unseen
from icm_annealer.runs.gold import task_again
from icm_annealer.runs.schema.base import Record, Versioned
from icm_client.contract.errors import RequestError
from icm_trainer.rm.objective import agreements
from icm_trainer.rm.pairing import Rewards, pairing_of
from icm_trainer.rm.pairs import Pair
from icm_trainer.rm.preference_file import holds_preferences, read_preferences
from icm_trainer.rm.record import RmRecord, UsedPair
from icm_trainer.sft.labelled import LabelledExample

EVALUATION = "rm-eval.json"


class PairFigures(Record):
    """Of one model on the pairs of a test, with 95 % intervals."""

    accuracy: Estimate
    """The share of pairs whose chosen text has the higher reward; a tie is half a right one."""
    ece: Estimate
    """Expected calibration error of the probability of the text preferred, 15 bins."""
    brier: Estimate
    """Of that of the chosen text, summed over both texts: 0 to 2."""
    accuracy_longer: Estimate
    """Where the chosen text is the longer one, in characters; NaN without such pairs."""
    accuracy_shorter: Estimate
    prefers_longer: Estimate
    """The share of pairs of different lengths in which the longer text has the higher reward."""
    length_correlation: Estimate
    """Of the difference of rewards with the difference of lengths, over both orders of every pair."""


class RmEvaluation(Versioned):
    """`rm-eval.json`."""

    model: str
    test: str
    """What it was tested on, for a person."""
    num_pairs: int = Field(ge=1)
    num_groups: int
    chosen_longer: float | None
    """The share of pairs of different lengths whose chosen text is the longer one: what `prefers_longer` would be if
    all were right."""
    figures: dict[str, PairFigures]
    """By model: `tuned`, and `untuned`, the log-odds of the model that it was made of."""
    by_subset: dict[str, Estimate]
    """Accuracy of the first model by part of the benchmark."""


class ToJudge(Record):
    """What a model is tested on."""

    text: str
    """For a person."""
    pairs: list[Pair]


def pairs_to_judge(
    folder: str,
    record: RmRecord,
    used: Sequence[UsedPair],
    task: str | None,
    data: str | None,
    *,
    allow_code: bool = False,
) -> ToJudge:
    """Pairs of a file of preferences, or of the gold labels of rows that the model did not learn from. Raises
    RequestError."""
    known = {text for pair in used for text in (pair.chosen, pair.rejected)}
    if data is not None and holds_preferences(data):
        found, text = read_preferences(data, record.task), f"the pairs of {data}"
    else:
        full, source = _gold_source(folder, record, task, data, allow_code=allow_code)
        loaded = load_examples(source, full)
        made_of = [example for example in loaded.examples if example.text in known]
        rows = [LabelledExample(one, loaded.gold[one.id]) for one in unseen(loaded, made_of).examples]
        pairing = pairing_of(full, [row.example for row in rows], record.pairs.options)
        found, text = pairing.by_labels(rows), gold_pairs(source)
    new = [pair for pair in found if pair.chosen not in known and pair.rejected not in known]
    if not new:
        raise RequestError(f"nothing to test on: {text} ({len(found):,}) were learnt from, or there are none")
    return ToJudge(text=text, pairs=new)


def gold_pairs(source: str) -> str:
    """The pairs of the gold labels of these rows, for a person."""
    return f"pairs by the gold labels of {source}"


def _gold_source(
    folder: str, record: RmRecord, task: str | None, data: str | None, *, allow_code: bool
) -> tuple[Task, str]:
    if record.pairs.of_task is None:
        raise RequestError(
            f"{folder} was made of a file of preferences: name another such file to test on with --test",
            code="no_test",
        )
    loaded = task_again(record.pairs.of_task, folder, task, allow_code=allow_code)
    if loaded is None or loaded.task.gold is None:
        raise RequestError(
            f"the gold field is not known: name the task file of {folder}, with `gold:` in it, by --task"
        )
    source = data or loaded.data_path
    if source is None:
        raise RequestError(f"name the rows of the task of {folder}, or a file of preferences, with --test")
    return loaded.task, str(source)


def judged(model: str, test: ToJudge, rewards: Mapping[str, Rewards]) -> RmEvaluation:
    """All figures. `rewards` are of the models to compare, the one in question first."""
    pairs = test.pairs
    units = np.zeros(len(pairs), dtype=np.int64)
    groups = groups_of(pairs)
    for number, group in enumerate(groups):
        units[group] = number
    lengths = np.array([len(pair.chosen) - len(pair.rejected) for pair in pairs], dtype=float)
    margins = {name: _margins(pairs, one) for name, one in rewards.items()}
    right = agreements(next(iter(margins.values())))
    subsets: dict[str, list[float]] = {}
    for pair, is_right in zip(pairs, right, strict=True):
        if pair.subset is not None:
            subsets.setdefault(pair.subset, []).append(float(is_right))
    differ = lengths != 0
    return RmEvaluation(
        model=model,
        test=test.text,
        num_pairs=len(pairs),
        num_groups=len(groups),
        chosen_longer=float((lengths > 0)[differ].mean()) if differ.any() else None,
        figures={
            name: pair_figures(values, lengths, Resamples(units), is_grouped=len(groups) < len(pairs))
            for name, values in margins.items()
        },
        by_subset={name: wilson(sum(parts), len(parts)) for name, parts in subsets.items()},
    )


def _margins(pairs: Sequence[Pair], rewards: Rewards) -> Array:
    texts = list(dict.fromkeys(text for pair in pairs for text in (pair.chosen, pair.rejected)))
    value = dict(zip(texts, rewards(texts), strict=True))
    return np.array([value[pair.chosen] - value[pair.rejected] for pair in pairs])


def pair_figures(margins: Array, lengths: Array, resamples: Resamples, *, is_grouped: bool) -> PairFigures:
    """`margins` [pair] are rewards of chosen texts less those of the others, `lengths` [pair] the same of lengths.

    Accuracy has Wilson's interval, unless pairs are drawn in groups and so are not independent.
    """
    right = agreements(margins)
    chosen = 1 / (1 + np.exp(-np.clip(margins, -500, 500)))
    longer = (np.sign(margins * lengths) + 1) / 2

    def briers(weights: Array) -> Array:
        found: Array = weights @ (2 * (1 - chosen) ** 2) / weights.sum(axis=1)
        return found

    def correlation(weights: Array) -> Array:
        with np.errstate(invalid="ignore"):
            found: Array = weights @ (margins * lengths) / np.sqrt((weights @ margins**2) * (weights @ lengths**2))
        return found

    def estimate(figure: Callable[[Array], Array]) -> Estimate:
        drawn = np.concatenate([figure(weights) for weights in resamples])
        return Estimate(float(figure(np.ones((1, len(margins))))[0]), *interval(drawn))

    every = np.ones(len(margins))
    return PairFigures(
        accuracy=resamples.share(right, every) if is_grouped else wilson(float(right.sum()), len(right)),
        ece=estimate(lambda weights: calibration_error(np.maximum(chosen, 1 - chosen), right, weights)),
        brier=estimate(briers),
        accuracy_longer=resamples.share(right, (lengths > 0).astype(float)),
        accuracy_shorter=resamples.share(right, (lengths < 0).astype(float)),
        prefers_longer=resamples.share(longer, (lengths != 0).astype(float)),
        length_correlation=estimate(correlation),
    )
