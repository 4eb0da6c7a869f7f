"""The contents of a run's report, read from its folder. Gold labels are added here, after the search, for the curves
that need them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from icm_annealer.core.arrays import Ints
from icm_annealer.core.estimate import Estimate
from icm_annealer.data.rates import Rates
from icm_annealer.evaluation.agreement import Agreement, agreement
from icm_annealer.evaluation.certainty import certainty_figures
from icm_annealer.evaluation.intervals import median_over_seeds, seeds_interval, wilson
from icm_annealer.plots.curves import Curve
from icm_annealer.reporting.accuracy_bars import Bars, accuracy_bars, intervals_of
from icm_annealer.reporting.compare_runs import ComparedRuns
from icm_annealer.runs.directory import DEMO, JOURNAL
from icm_annealer.runs.gold import read_again
from icm_annealer.runs.journal import read_lines
from icm_annealer.runs.record import RunRecord
from icm_annealer.runs.review_file import Decided
from icm_annealer.runs.schema.base import read_file
from icm_annealer.runs.schema.evaluation import CertaintyFigures, Evaluation
from icm_annealer.runs.schema.journal import EndLine
from icm_annealer.runs.schema.metrics import DemoResults, RatesMetrics
from icm_annealer.runs.schema.rows import LabelRow
from icm_annealer.search.base import FINALISTS, LABEL_RATES
from icm_client.contract.errors import RequestError

NUM_LEAST_CERTAIN = 10
MAX_TEXT = 600
"""Characters of an example that the page shows."""


def seed_folders(folder: Path) -> list[Path]:
    """Where a demo with several seeds keeps each of them, in their order."""
    found = [path for path in folder.glob("seed-*") if path.name[5:].isdecimal() and path.is_dir()]
    return sorted(found, key=lambda path: int(path.name[5:]))


class UncertainRow(NamedTuple):
    """One of the least certain labels."""

    row: LabelRow
    text: str
    gold: str | None


@dataclass(frozen=True)
class SearchReport:
    """What the page shows of one search."""

    record: RunRecord
    title: str
    u_curves: tuple[Curve, ...]
    accuracy_curves: tuple[Curve, ...]
    num_known: int
    """How many labels are known, or follow from known ones."""
    label_accuracy: Estimate | None
    """Share of the labels found, without known ones, that are right, from gold or else from the last `icm eval`; None
    where neither is known."""
    zero_shot_label_accuracy: float | None
    """Calibrated zero-shot's on the same examples; known of a demo."""
    found: list[LabelRow]
    """The rows whose label was not known; empty for a run that has not ended."""
    certainty: CertaintyFigures | None
    """From gold, or else from the last `icm eval`; None where neither is known."""
    least_certain: list[UncertainRow]
    agreement: Agreement
    """How many of the labels found are right, by what people reviewed."""

    @classmethod
    def read(cls, folder: Path, gold: dict[str, str] | None = None) -> SearchReport:
        """Curves over each chain's passes, and the least certain labels first; a run that has not ended shows how far
        it came. `gold` (id -> label) is known without being given for built-in tasks.

        Raises RequestError if there is no run.
        """
        record = RunRecord.read(folder)
        names, texts, title = record.task.label_names, {}, record.task.name
        try:
            reference = read_again(record)
            texts = {example.id: example.text for example in reference.examples}
            title = reference.task.title or title
            gold = gold if gold is not None else reference.data.gold if reference.data else {}
        except RequestError:  # its examples are not found: the page has no texts
            gold = gold or {}
        rows = record.rows() if record.is_finished else []
        known = {row.id for row in rows if row.known} or set(record.header.known or ())
        numbers = np.array([names.index(gold[i]) if i in gold and i not in known else -1 for i in record.ids])
        u_curves, accuracy_curves = _curves(record, numbers)
        found = [row for row in rows if not row.known]
        certainty = _certainty(found, gold) or (record.evaluation.certainty if found and record.evaluation else None)
        uncertain = sorted(found, key=lambda row: row.rank)[:NUM_LEAST_CERTAIN]
        least = [UncertainRow(row, texts.get(row.id, "")[:MAX_TEXT], gold.get(row.id)) for row in uncertain]
        demo = read_file(folder / DEMO, DemoResults)
        zero_shot = demo.seeds[0].zero_shot_label_accuracy if demo and demo.seeds else None
        right = [row.label == gold[row.id] for row in found if row.id in gold]
        evaluated = record.evaluation.label_accuracy if found and record.evaluation else None
        label_accuracy = wilson(sum(right), len(right)) if right else evaluated
        return cls(
            record,
            title,
            u_curves,
            accuracy_curves,
            len(known),
            label_accuracy,
            zero_shot,
            found,
            certainty,
            least,
            agreement(rows),
        )

    @property
    def tried_rates(self) -> list[RatesMetrics]:
        """The answers at several label rates; empty if the search tried none besides even ones."""
        tried = (self.record.metrics.at_rates if self.record.metrics else None) or []
        return tried if len(tried) > 1 else []

    @property
    def decided(self) -> Decided:
        """How many of the labels found people decided."""
        return Decided.of(self.found)


@dataclass(frozen=True)
class RunReport:
    """What the page shows of one folder: a run, or a demo with a search for each of its seeds."""

    name: str
    searches: list[SearchReport]
    demo: DemoResults | None
    evaluation: Evaluation | None

    @classmethod
    def read(cls, folder: Path, gold: dict[str, str] | None = None) -> RunReport:
        """Raises RequestError if the folder holds neither."""
        seeds = [] if (folder / JOURNAL).is_file() else [p for p in seed_folders(folder) if (p / JOURNAL).is_file()]
        searches = [SearchReport.read(place, gold) for place in seeds or [folder]]
        evaluation = searches[0].record.evaluation if not seeds else None
        return cls(str(folder), searches, read_file(folder / DEMO, DemoResults), evaluation)

    @property
    def first(self) -> RunRecord:
        return self.searches[0].record

    @property
    def bars(self) -> Bars:
        return accuracy_bars(self.demo, self.evaluation)

    @property
    def intervals(self) -> str:
        return intervals_of(self.demo, self.evaluation)

    @property
    def bars_interval(self) -> str:
        """What the intervals of `bars` are, for a legend."""
        seeds = self.demo.seeds if self.demo else self.evaluation.seeds if self.evaluation else ()
        return seeds_interval(len(seeds))

    @property
    def calibrated_to(self) -> Rates:
        """The label rates that predictions were calibrated to: those stated for a demo, or those of the evaluation."""
        if self.demo is not None or self.evaluation is None:
            return self.first.task.rates
        return self.evaluation.stated_rates or {}

    @property
    def us(self) -> list[float]:
        return [
            search.record.u for search in self.searches if search.record.is_finished and search.record.u is not None
        ]

    @property
    def u(self) -> Estimate:
        """Of one search with its standard error over orders; of several the median with its interval over seeds."""
        if len(self.us) > 1:
            return median_over_seeds(self.us)
        value, error = (self.us or [float("nan")])[0], self.first.u_se
        return Estimate(value, value - error, value + error)

    @property
    def label_accuracy(self) -> Estimate | None:
        """Of one search, or the median over seeds."""
        known = [search.label_accuracy for search in self.searches if search.label_accuracy is not None]
        if len(known) > 1:
            return median_over_seeds([one.value for one in known])
        return known[0] if known else None

    @property
    def computed_tokens(self) -> int:
        """Of the searches and, in a demo, of nothing else."""
        return sum(search.record.computed_tokens for search in self.searches)

    @property
    def num_passes(self) -> int:
        return sum(cost.number is not None for search in self.searches for cost in search.record.costs)

    @property
    def seconds(self) -> float:
        """Of a demo as a whole, else of the search, over all processes that worked on it."""
        if self.demo is not None:
            return self.demo.seconds
        return self.first.metrics.search_seconds if self.first.metrics else 0.0

    @property
    def state(self) -> str:
        """The worst of its searches'."""
        states = [search.record.state for search in self.searches]
        return next(state for state in ("warned", "stopped", "running", "finished") if state in states)

    @property
    def verdicts(self) -> str:
        """In words; of several searches, each verdict with its number: `found 3, weakly coherent 2`."""
        words = [search.record.verdict.words for search in self.searches if search.record.verdict]
        if len(self.searches) == 1:
            return "".join(words)
        return ", ".join(f"{word} {num}" for word, num in Counter(words).most_common())

    @property
    def num_in_state(self) -> int:
        return sum(search.record.state == self.state for search in self.searches)

    @property
    def compared(self) -> ComparedRuns:
        labels = {row.id: row.label for row in self.first.rows()} if self.first.is_finished else {}
        return ComparedRuns(self.name, self.first, labels if len(self.searches) == 1 else {})


def _certainty(found: Sequence[LabelRow], gold: dict[str, str]) -> CertaintyFigures | None:
    """Of the rows with a gold label; None if there is none."""
    judged = [row for row in found if row.id in gold]
    if not judged:
        return None
    right = np.array([row.label == gold[row.id] for row in judged], dtype=float)
    return certainty_figures(judged, np.array([row.certainty for row in judged]), right)


def _curves(record: RunRecord, gold: Ints) -> tuple[tuple[Curve, ...], tuple[Curve, ...]]:
    """U, and the share of right labels, over each chain's passes; `gold` is by example, -1 where unknown."""
    u_lines: dict[str, list[tuple[float, float]]] = {}
    accuracy_lines: dict[str, list[tuple[float, float]]] = {}
    for line in read_lines(record.folder / JOURNAL):
        if isinstance(line, EndLine) or line.u is None or line.request.purpose in (FINALISTS, LABEL_RATES):
            continue
        points = u_lines.setdefault(line.request.purpose, [])
        points.append((len(points) + 1, line.u))
        labels = np.array(line.request.labels)
        judged = (gold >= 0) & (labels >= 0)
        if judged.any():
            right = float((labels[judged] == gold[judged]).mean())
            accuracy_lines.setdefault(line.request.purpose, []).append((len(points), right))
    return (
        tuple(Curve(name, tuple(points)) for name, points in u_lines.items()),
        tuple(Curve(name, tuple(points)) for name, points in accuracy_lines.items()),
    )
