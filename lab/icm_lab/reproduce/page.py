"""The figures as one self-contained page."""

from __future__ import annotations

from typing import Any

import jinja2

from icm_annealer.evaluation.intervals import Estimate
from icm_annealer.reporting.bars import Bar, bar_rows
from icm_annealer.reporting.charts import COLOURS
from icm_annealer.reporting.report import templates
from icm_lab.reproduce.figures import TITLES


def render_page(found: dict[str, Any]) -> str:
    """`found` is what figures.json holds. The page loads nothing from elsewhere."""
    environment = templates()
    own = jinja2.PackageLoader("icm_lab", "templates")
    environment.loader = jinja2.ChoiceLoader([own, *([environment.loader] if environment.loader else [])])
    page = environment.get_template("reproduce.html")
    return page.render(found=found, charts=_charts, titles=TITLES)


def _charts(figure: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """For each task and model of a figure, the bars of its methods."""
    places = dict.fromkeys((bar["task"], bar["model"]) for bar in figure["bars"])
    charts = []
    for task, model in places:
        bars = [bar for bar in figure["bars"] if (bar["task"], bar["model"]) == (task, model)]
        charts.append((f"{task}, {model}", bar_rows([_bar(bar) for bar in bars])))
    return charts


def _bar(bar: dict[str, Any]) -> Bar:
    colour = COLOURS[list(TITLES).index(bar["method"]) % len(COLOURS)]
    return Bar(TITLES[bar["method"]], colour, Estimate.read(bar), bar["seeds"])
