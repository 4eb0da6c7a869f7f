"""`metrics.json`: results and costs of one search. `demo.json`: results of a demo over its seeds."""

from __future__ import annotations

import operator
from typing import Literal

from pydantic import Field, model_validator

from icm_annealer.core.estimate import Estimate, MaybeUnknown
from icm_annealer.runs.schema.base import Record, Versioned
from icm_annealer.runs.schema.journal import RunSettings, StoppedBy
from icm_annealer.runs.schema.verdict import Verdict
from icm_client.contract.wire import ModelIdentity


class RowCounts(Record):
    """The number of rows read, skipped, labelled and left out."""

    read: int
    blank_lines: int
    labelled: int
    left_out: int
    skipped: int = Field(default=0, exclude_if=operator.not_)
    """Bad rows, which `read` counts too; absent from the file if there are none."""


class AnswerMetrics(Record):
    """One final labelling that the search evaluated, on the orders that all of them share."""

    starts: list[str]
    """The starts of the chains that found it."""
    u: float
    u_se: float
    u_own_orders: float
    """U of the search's own last passes."""
    agreement: float
    """The share of examples with the same label as in the winner."""


def alarm_page(code: str) -> str:
    """The place in the documentation that explains an alarm."""
    return f"docs/rules_and_alarms.md#{code}"


class AlarmRecord(Record):
    """An alarm as stored in files."""

    code: str
    level: Literal["warning", "note"]
    observation: str
    advice: str

    def __str__(self) -> str:
        return f"{self.observation} {self.advice}"

    @property
    def line(self) -> str:
        """The alarm as commands print it."""
        return f"{self.level} {self.code}: {self} ({self.page})"

    @property
    def page(self) -> str:
        """See `alarm_page`."""
        return alarm_page(self.code)


class RatesMetrics(Record):
    """An answer at given label rates."""

    label_rates: dict[str, float]
    u: float
    u_se: float
    """Over the examples, on one order that all rates share."""
    is_winner: bool
    """Whether its labels are those of the run."""


class RunMetrics(Versioned):
    """One search's figures."""

    task: str
    settings: RunSettings
    rows: RowCounts | None = None
    """None if the caller gave no row counts."""
    num_examples: int
    u: float
    """U of the labels found, the first of `answers`."""
    u_se: float
    answers: list[AnswerMetrics]
    """The winner first."""
    chain_agreement: list[float]
    """By chain, the share of examples with the same label in its end state and in the labels found."""
    label_rates: dict[str, float]
    stated_rates: dict[str, tuple[float, float]] | None = None
    """Label name -> its least and greatest share, as the task or `--rates` stated them; None if none were stated."""
    at_rates: list[RatesMetrics] | None = None
    """Answers at several label rates, the one at even rates first; None if the search tried none."""
    num_known: int | None = None
    """How many of the labels were known; None if none were."""
    num_passes: int
    prompt_tokens: int
    computed_tokens: int
    cached_tokens: int
    """Tokens and seconds, summed over all processes that worked on the run."""
    search_seconds: float
    rescore_spread: float | None
    """See `labelling.rescore.Rescored.spread`; None if nothing was scored again."""
    alarms: list[AlarmRecord]
    verdict: Verdict
    stopped_by: StoppedBy | None = None
    """The budget at which the search was stopped; None if it came to its end."""
    notes: dict[str, int | float] | None = None
    """Figures that are specific to the search."""


class DemoSeed(Record):
    """One seed of a demo."""

    seed: int
    test_accuracy: dict[str, Estimate]
    """By method: `zero_shot`, `random_few_shot`, `icm`, `gold`, each also with `_calibrated`."""
    label_accuracy: Estimate
    zero_shot_label_accuracy: MaybeUnknown
    """The accuracy of calibrated zero-shot labels on the same examples."""
    seconds: float
    search: RunMetrics


class DemoResults(Versioned):
    """A demo's figures: those of one seed, or medians over several. Without seeds, no seed is finished yet."""

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
