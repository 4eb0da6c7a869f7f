"""The sweep's table: one line a group, with medians and intervals over its seeds. Gold labels are read here, after the
searches."""

from __future__ import annotations

import csv
import io
import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import Field

from icm_annealer.core.estimate import Estimate
from icm_annealer.data.examples import labels_of
from icm_annealer.evaluation.intervals import median_over_seeds, wilson
from icm_annealer.runs.costs import read_costs, spent
from icm_annealer.runs.record import RunRecord
from icm_annealer.runs.schema.base import Record, Versioned
from icm_annealer.sweeping.plan import Group, PlannedRun, SweepPlan
from icm_annealer.sweeping.sweep import Outcome
from icm_client.contract.wire import ModelIdentity


class RunFigures(Record):
    """One run of the sweep."""

    name: str
    """Its folder, below the sweep's."""
    ended: str
    """`done`, `failed` or `unfinished`."""
    reason: str = ""
    """Why it is not done."""
    seed: int
    labels_right: Estimate | None = None
    """The share of right labels without known ones, with Wilson's interval; None without gold labels."""
    u: float | None = None
    u_se: float | None = None
    verdict: str | None = None
    warnings: list[str] = Field(default=[])
    """The codes of its alarms that are warnings."""
    tokens: int
    """Computed, over all processes; also for a run that is not done."""
    prompt_tokens: int
    """Of all prompts, most of them from the prefix cache."""
    seconds: float | None = None
    """Spent waiting for the scorer, while other runs used it too."""


class GroupFigures(Record):
    """The runs that differ only in their seeds: medians with 95 % intervals over them."""

    task: str
    setting: str
    scorer: str
    model: str
    served: ModelIdentity | None
    """The model that answered; None if no run is done."""
    num_done: int
    num_runs: int
    labels_right: Estimate | None
    """Of one seed with the interval over its examples."""
    agreement: Estimate | None
    """The share of examples with the same label, over pairs of seeds: the median, the least and the greatest. None with
    fewer than two."""
    u: Estimate | None
    u_unit: str
    """U is comparable within one task, plan and measure."""
    tokens: Estimate | None
    """Computed by a run."""
    seconds: Estimate | None
    verdicts: dict[str, int]
    """How many runs have each verdict."""
    runs: list[RunFigures]

    @property
    def name(self) -> str:
        return Group(self.task, self.setting, self.scorer, self.model).name


class SweepTable(Versioned):
    """`sweep.json`."""

    name: str
    groups: list[GroupFigures]

    @property
    def failed(self) -> list[RunFigures]:
        """The runs that are not done."""
        return [run for group in self.groups for run in group.runs if run.ended != "done"]

    def csv(self) -> str:
        """One line a run."""
        out = io.StringIO()
        names = [name for name in RunFigures.model_fields if name not in ("labels_right", "warnings")]
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["task", "setting", "scorer", "model", *names, "labels_right", "warnings"])
        for group in self.groups:
            for run in group.runs:
                right = "" if run.labels_right is None else run.labels_right.value
                row = [group.task, group.setting, group.scorer, group.model, *(getattr(run, name) for name in names)]
                writer.writerow([*row, right, " ".join(run.warnings)])
        return out.getvalue()


def sweep_table(plan: SweepPlan, outcomes: Mapping[str, Outcome]) -> SweepTable:
    """Reads all runs that are done. Raises RequestError for files that were damaged."""
    by_group: dict[str, list[PlannedRun]] = {}
    for run in plan.runs:
        by_group.setdefault(run.group.name, []).append(run)
    groups = [_group(runs, outcomes) for runs in by_group.values()]
    return SweepTable(name=plan.folder.resolve().name, groups=groups)


def _group(runs: Sequence[PlannedRun], outcomes: Mapping[str, Outcome]) -> GroupFigures:
    read = [_read(run, outcomes[run.name]) for run in runs]
    figures = [one for one, _ in read]
    done = [one for one in figures if one.ended == "done"]
    records = [record for _, record in read if record is not None]
    rights = [one.labels_right for one in done if one.labels_right is not None]
    us = [(one.u, one.u_se or 0.0) for one in done if one.u is not None]
    group = runs[0].group
    return GroupFigures(
        task=group.task,
        setting=group.setting,
        scorer=group.scorer,
        model=group.model,
        served=records[0].header.model if records else None,
        num_done=len(done),
        num_runs=len(runs),
        labels_right=rights[0] if len(rights) == 1 else _median([right.value for right in rights]),
        agreement=_agreement(records),
        u=Estimate(us[0][0], us[0][0] - us[0][1], us[0][0] + us[0][1]) if len(us) == 1 else _median([u for u, _ in us]),
        u_unit=records[0].u_unit if records else "",
        tokens=_median([float(one.tokens) for one in done]),
        seconds=_median([one.seconds for one in done if one.seconds is not None]),
        verdicts=dict(Counter(one.verdict for one in done if one.verdict).most_common()),
        runs=figures,
    )


def _read(run: PlannedRun, outcome: Outcome) -> tuple[RunFigures, RunRecord | None]:
    """The figures of one run, and its record if it is done."""
    place = run.job.folder.path
    cost = spent(read_costs(place)).usage
    figures = RunFigures(
        name=run.name,
        ended=outcome.ended,
        reason=outcome.reason,
        seed=run.seed,
        tokens=cost.computed_tokens,
        prompt_tokens=cost.prompt_tokens,
    )
    if outcome.ended != "done":
        return figures, None
    record = RunRecord.read(place)
    found = dict(
        labels_right=_labels_right(run, record),
        u=record.u,
        u_se=record.u_se,
        verdict=record.verdict.words if record.verdict else None,
        warnings=[alarm.code for alarm in record.alarms if alarm.level == "warning"],
        seconds=record.metrics.search_seconds if record.metrics else None,
    )
    return figures.model_copy(update=found), record


def _labels_right(run: PlannedRun, record: RunRecord) -> Estimate | None:
    job = run.job
    gold = labels_of(job.examples, job.loaded.gold, job.task)
    rows = record.rows()
    found = labels_of(job.examples, {row.id: row.label for row in rows if not row.known}, job.task)
    judged = (gold >= 0) & (found >= 0)
    return wilson(int((gold[judged] == found[judged]).sum()), int(judged.sum())) if judged.any() else None


def _agreement(records: Sequence[RunRecord]) -> Estimate | None:
    labels = [np.array(record.end.labels) for record in records if record.end is not None]
    pairs = [float((one == other).mean()) for one, other in itertools.combinations(labels, 2)]
    return Estimate(float(np.median(pairs)), min(pairs), max(pairs)) if pairs else None


def _median(values: Sequence[float]) -> Estimate | None:
    """With no interval where there is one value; None where there is none."""
    if not values:
        return None
    return median_over_seeds(values) if len(values) > 1 else Estimate(values[0], math.nan, math.nan)
