"""The page of a relabelling: figures by round, and the share of right labels where gold is at hand. Gold is read here
alone, after everything was decided."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jinja2

from icm_annealer.core.estimate import Estimate
from icm_annealer.evaluation.intervals import wilson
from icm_annealer.plots.base import LEAST_SHARE, Plot
from icm_annealer.plots.curves import Curve, CurvePlot
from icm_annealer.reporting.evaluation_table import format_figure
from icm_annealer.reporting.report import templates
from icm_annealer.runs.directory import JOURNAL, RunDir
from icm_annealer.runs.gold import read_again
from icm_annealer.runs.journal import read_lines
from icm_annealer.runs.record import RunRecord
from icm_annealer.runs.schema.base import read_file
from icm_annealer.runs.schema.journal import PassLine
from icm_client.contract.errors import RequestError
from icm_trainer.relabel.record import MARGIN_SHARES, PAGE, RELABELLING, RelabelRecord
from icm_trainer.relabel.search import FOLDS


@dataclass(frozen=True)
class RightLabels:
    """Shares of right labels, without known ones; None where no gold is known."""

    start: Estimate | None
    """Of the labels at the start."""
    by_round: list[Estimate | None]
    """Of the labels that each round judged."""
    result: Estimate | None
    added: Estimate | None
    """Of the result's labels for examples that had none at the start."""


def gold_again(folder: Path, task: str | None, data: str | None, *, allow_code: bool = False) -> dict[str, str]:
    """Gold labels by id; empty if none are at hand. Raises RequestError if a task or data that is named is not that of
    the folder."""
    try:
        reference = read_again(RunRecord.read(folder), task, data, allow_code=allow_code)
    except RequestError:
        if task is not None or data is not None:
            raise
        return {}
    return dict(reference.data.gold) if reference.data else {}


def right_labels(folder: Path, gold: Mapping[str, str]) -> RightLabels:
    """How many labels are right by `gold` (id -> label)."""
    record = RunRecord.read(folder)
    names, known, start = record.task.label_names, record.header.known or {}, record.header.start or {}
    rounds = [
        {name: names[label] for name, label in zip(record.ids, line.request.labels, strict=True)}
        for line in read_lines(folder / JOURNAL)
        if isinstance(line, PassLine) and line.request.purpose == FOLDS
    ]
    result = {row.id: row.label for row in record.file_rows()}

    def share(labels: Mapping[str, str]) -> Estimate | None:
        judged = [label == gold[name] for name, label in labels.items() if name in gold and name not in known]
        return wilson(sum(judged), len(judged)) if judged else None

    added = {name: label for name, label in result.items() if name not in start}
    return RightLabels(share(start), [share(labels) for labels in rounds], share(result), share(added))


def write_page(folder: Path, gold: Mapping[str, str]) -> Path:
    """Writes the page into the folder of a finished relabelling. It loads nothing from elsewhere."""
    record, figures = RunRecord.read(folder), read_file(folder / RELABELLING, RelabelRecord)
    assert figures is not None
    right = right_labels(folder, gold)
    shared = templates()
    own = jinja2.PackageLoader("icm_trainer.relabel")
    loaders = jinja2.ChoiceLoader([own, *([shared.loader] if shared.loader else [])])
    page = shared.overlay(loader=loaders).get_template("relabelling.html")
    text = page.render(
        name=record.name,
        verdict=record.verdict,
        figures=figures,
        names=record.task.label_names,
        right=right,
        plots=_plots(figures, right),
        shares=MARGIN_SHARES,
        format_figure=format_figure,
    )
    return RunDir(folder).write_text(PAGE, text)


def _plots(figures: RelabelRecord, right: RightLabels) -> dict[str, Plot]:
    """Agreement and right labels, and label rates, over the rounds."""

    def curve(label: str, values: list[float]) -> Curve:
        return Curve(label, tuple((float(number), value) for number, value in enumerate(values, 1)))

    shares = [curve("agreement", [one.agreement for one in figures.rounds])]
    if known := [one.value for one in right.by_round if one is not None]:
        shares.append(curve("labels right", known))
    rates = [curve(name, [one.label_rates[name] for one in figures.rounds]) for name in figures.rounds[0].label_rates]
    share = partial(CurvePlot, bounds=(0.0, 1.0), least=LEAST_SHARE)
    return {
        "by-round": share("Agreement over rounds", "round", "share of the labels", tuple(shares)),
        "rates-by-round": share("Label rates over rounds", "round", "label rates", tuple(rates)),
    }
