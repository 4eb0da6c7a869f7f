"""`metrics.json`: what one search found and cost. `demo.json`: what a demo found, over its seeds."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from icm_annealer.core.estimate import Estimate, MaybeUnknown
from icm_annealer.runs.schema.base import Record, Versioned
from icm_annealer.runs.schema.journal import RunSettings
from icm_client.contract.wire import ModelIdentity


class RowCounts(Record):
    """How many rows the data had, and what became of them."""

    read: int
    blank_lines: int
    labelled: int
    left_out: int


class AnswerMetrics(Record):
    """One answer that the search weighed, on the orders that all answers share."""

    starts: list[str]
    """What the chains that found it began with."""
    u: float
    u_se: float
    u_own_orders: float
    """U by the search's own last passes."""
    agreement: float
    """The share of examples that have the winner's label."""


class AlarmRecord(Record):
    """An alarm as files hold it."""

    code: str
    level: Literal["warning", "note"]
    observation: str
    advice: str

    def __str__(self) -> str:
        return f"{self.observation} {self.advice}"


class RunMetrics(Versioned):
    """One search's figures."""

    task: str
    settings: RunSettings
    rows: RowCounts | None = None
    """None if the caller did not say where its examples came from."""
    num_examples: int
    u: float
    """Of the labels found, the winner of `answers`."""
    u_se: float
    answers: list[AnswerMetrics]
    """The winner first."""
    chain_agreement: list[float]
    """By chain: the share of examples that its last labels and the labels found have in common."""
    label_rates: dict[str, float]
    num_passes: int
    prompt_tokens: int
    computed_tokens: int
    cached_tokens: int
    """Tokens, and seconds, of all processes that worked on the run."""
    search_seconds: float
    rescore_spread: float | None
    """See `labelling.rescore.Rescored.spread`; None if nothing was scored again."""
    alarms: list[AlarmRecord]
    notes: dict[str, int | float] | None = None
    """Figures that only this search has."""


class DemoSeed(Record):
    """One seed of a demo."""

    seed: int
    test_accuracy: dict[str, Estimate]
    """By method: `zero_shot`, `random_few_shot`, `icm`, `gold`, each also with `_calibrated`."""
    label_accuracy: Estimate
    zero_shot_label_accuracy: MaybeUnknown
    """Calibrated zero-shot's on the same examples."""
    seconds: float
    search: RunMetrics


class DemoResults(Versioned):
    """A demo's figures: of one seed its own, of several the medians. Without seeds, the demo has not come so far."""

    task: str
    model: ModelIdentity
    settings: RunSettings
    test_accuracy: dict[str, Estimate] = Field(default_factory=dict)
    label_accuracy: Estimate | None = None
    num_passes: int = Field(default=0, ge=0)
    computed_tokens: int = Field(default=0, ge=0)
    seconds: float = 0.0
    seeds: list[DemoSeed] = Field(default_factory=list)

    @model_validator(mode="after")
    def _seeds_have_the_same_methods(self) -> DemoResults:
        if any(seed.test_accuracy.keys() != self.test_accuracy.keys() for seed in self.seeds):
            raise ValueError("seeds: one has other methods in test_accuracy")
        return self
