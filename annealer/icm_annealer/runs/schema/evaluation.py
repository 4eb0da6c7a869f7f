"""`eval.json`: how well a run's labels prompt a model on unseen examples."""

from __future__ import annotations

from pydantic import Field, model_validator

from icm_annealer.core.estimate import Estimate
from icm_annealer.runs.schema.base import Record, Versioned
from icm_client.contract.wire import ModelIdentity

KINDS = ("raw", "calibrated")
"""Calibrated: over the test examples, all labels have the same mean and spread, or the stated rates."""
FIGURE_NAMES = ("accuracy", "balanced_accuracy", "auroc", "ece", "brier")
"""Defined in `evaluation.metrics`."""
Quality = dict[str, dict[str, Estimate]]
"""Estimates by kind and figure."""


class RiskAtCoverage(Record):
    """The share of wrong labels among the most certain ones."""

    coverage: float = Field(gt=0, le=1)
    """The share of the labels that these are."""
    certainty: float = Field(ge=0, le=1)
    """The lowest certainty among them."""
    risk: Estimate


class CertaintyFigures(Record):
    """How well the certainty of the labels found tells right ones from wrong ones; see `evaluation.certainty`."""

    num: int
    """The labelled examples with a known gold label."""
    intervals: str
    """A description of the intervals."""
    auroc: Estimate
    """Of right labels against wrong ones; unknown if all are right, or all wrong."""
    ece: Estimate
    risks: list[RiskAtCoverage] = Field(min_length=1)
    """By rising coverage, up to all labels."""


class _Figures(Record):
    figures: dict[str, Quality]
    """By method: `zero_shot`, `icm`, and `gold` if gold labels of the labelled examples are known. Of a tuned model:
    `many_shot`, the labels that it was tuned on as shots, in place of `icm`; and `tuned`."""
    gap_recovered: dict[str, Estimate]
    """By kind, (icm - zero_shot) / (gold - zero_shot) of accuracies; empty without `icm` and `gold`."""

    @model_validator(mode="after")
    def _all_figures_are_there(self) -> _Figures:
        for method, kinds in self.figures.items():
            missing = [f"{kind}.{name}" for kind in KINDS for name in FIGURE_NAMES if name not in kinds.get(kind, {})]
            if missing:
                raise ValueError(f"figures.{method}: has no {missing[0]}")
        return self


class SeedFigures(_Figures):
    """One seed's figures."""

    seed: int


class Evaluation(_Figures, Versioned):
    """The figures of one seed, or the medians over several seeds with intervals over the seeds."""

    run: str
    task: str
    model: ModelIdentity
    """The prompted model; the labels may come from another model."""
    num_unseen: int
    """Examples with gold labels that the run did not label."""
    label_accuracy: Estimate | None
    """The share of correct labels among those found, without known ones; None if none of them has a gold label."""
    certainty: CertaintyFigures | None = None
    """Of the same labels; None if none of them has a gold label."""
    num_known: int | None = None
    """Labels that were known; None if none were."""
    stated_rates: dict[str, tuple[float, float]] | None = None
    """The label rates that predictions were calibrated to; None if none were stated."""
    num_left_out: int = 0
    """Seeds for which the budget did not suffice."""
    intervals: str
    """A description of the intervals of `figures`."""
    ece_bins: str
    num_examples: int
    """Labelled examples in a context."""
    num_test: int
    num_dropped: int
    """Shots that did not fit the model's window, in the context that dropped the most."""
    computed_tokens: int
    cached_tokens: int
    seeds: list[SeedFigures]
    """Empty if there were no unseen examples: the labels alone were evaluated."""

    @model_validator(mode="after")
    def _seeds_have_the_same_methods(self) -> Evaluation:
        if any(seed.figures.keys() != self.figures.keys() for seed in self.seeds):
            raise ValueError("seeds: one has other methods")
        return self
