"""The page of a policy: reward, KL and length by step, what it wrote at every look, and how it did head to head."""

from __future__ import annotations

from pathlib import Path

import jinja2

from icm_annealer.plots.base import Plot
from icm_annealer.plots.curves import Curve, CurvePlot
from icm_annealer.reporting.evaluation_table import format_figure
from icm_annealer.reporting.report import templates
from icm_annealer.runs.directory import RunDir
from icm_trainer.rl.head_to_head import read_evaluations
from icm_trainer.rl.record import PAGE, RlRecord, read_used_prompts
from icm_trainer.sft.record import read_record

TITLES = {"reward": "mean reward", "kl": "KL to the start, nats per response", "length": "tokens per response"}


def write_page(folder: Path) -> Path:
    """Writes the page into the folder of a policy. It loads nothing from elsewhere."""
    record = read_record(folder, RlRecord)
    shared = templates()
    own = jinja2.PackageLoader("icm_trainer.rl")
    loaders = jinja2.ChoiceLoader([own, *([shared.loader] if shared.loader else [])])
    text = (
        shared.overlay(loader=loaders)
        .get_template("rl.html")
        .render(
            name=folder.resolve().name,
            record=record,
            prompts=[one.prompt for one in read_used_prompts(folder) if one.shown],
            evaluations=read_evaluations(folder),
            plots=plots_of(record),
            format_figure=format_figure,
        )
    )
    return RunDir(folder).write_text(PAGE, text)


def plots_of(record: RlRecord) -> dict[str, Plot]:
    """Each figure by step, of the responses that were learnt from; and at looks, of the prompts shown."""
    steps = [one for row in record.log for one in row.by_step]
    return {
        name: CurvePlot(
            title,
            "step",
            title,
            (
                Curve("learnt from", tuple((float(number), one[name]) for number, one in enumerate(steps, 1))),
                Curve("shown", tuple((float(row.step), row.figures[name]) for row in record.log if row.step)),
            ),
        )
        for name, title in TITLES.items()
    }
