"""The bench's result as one self-contained HTML page, and its plots: U and accuracies over computed tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from icm_annealer.benchmarks.searches.plan import GOLD
from icm_annealer.benchmarks.searches.standings import Heat, Standing, whole_tokens
from icm_annealer.benchmarks.searches.tables import notes_for
from icm_annealer.core.objective import Objective, unit_of_u
from icm_annealer.plots.base import Plot
from icm_annealer.plots.clouds import Cloud, CloudPlot, Level
from icm_annealer.reporting.methods import TITLES
from icm_annealer.reporting.report import templates


class Shown(NamedTuple):
    """A figure that is plotted over tokens."""

    name: str
    """As rows hold it."""
    title: str
    bounds: tuple[float, float] | None = None


SHOWN = (
    Shown("u", f"U ({unit_of_u(Objective().measure)})"),
    Shown("label_accuracy", "share of right labels", (0.0, 1.0)),
    Shown("test_accuracy_calibrated", "test accuracy, calibrated", (0.0, 1.0)),
)
COLUMNS = (
    ("tokens", "tokens", "{:,.0f}"),
    ("x blocks", "ratio", "{:.2f}"),
    ("by plan fixed", "fixed_tokens", "{:,.0f}"),
    ("x blocks", "fixed_ratio", "{:.1f}"),
    ("… each cold", "fixed_tokens_cold", "{:,.0f}"),
    ("x blocks", "fixed_cold_ratio", "{:.1f}"),
    ("… a label", "fixed_cold_label_ratio", "{:.1f}"),
    ("U", "u", "{:+.3f}"),
    ("labels right", "label_accuracy", "{:.3f}"),
    ("test", "test_accuracy", "{:.3f}"),
    ("test, calibrated", "test_accuracy_calibrated", "{:.3f}"),
)


def render_page(heats: Sequence[Heat], model: dict[str, Any]) -> str:
    """The page as HTML; nothing is loaded from elsewhere."""
    return (
        templates()
        .get_template("search_bench.html")
        .render(
            heats=heats,
            model=model,
            plots_of=_plots_of,
            columns=COLUMNS,
            notes=notes_for(heats),
        )
    )


def bench_plots(heats: Sequence[Heat]) -> dict[str, Plot]:
    """All plots of the page, by the names of their files."""
    return {name: plot for heat in heats for name, plot in _plots_of(heat).items()}


def _plots_of(heat: Heat) -> dict[str, Plot]:
    """Those of one task and size; a figure that no search has is not shown."""
    plots: dict[str, Plot] = {}
    for shown in SHOWN:
        clouds = tuple(cloud for standing in heat.standings for cloud in _clouds(standing, shown.name))
        levels = tuple(
            Level(TITLES[GOLD], standing.figures[shown.name]) for standing in heat.standings if standing.search == GOLD
        )
        if clouds:
            name = f"{heat.task}-{heat.num}-{shown.name.replace('_', '-')}"
            title = f"{shown.title} over computed tokens"
            plots[name] = CloudPlot(title, "computed tokens", shown.title, clouds, levels, shown.bounds)
    return plots


def _clouds(standing: Standing, name: str) -> Iterator[Cloud]:
    """A search's seeds; the published search has a second cloud, where its own plan would put it."""
    figures = standing.figures
    if "tokens" in figures:
        yield _cloud(standing, name, standing.search, "tokens")
    # Asked by `fixed`, it stands there already.
    if "fixed_tokens" in figures and figures["fixed_tokens"] != figures["tokens"]:
        yield _cloud(standing, name, f"{standing.search}, plan fixed", "fixed_tokens")


def _cloud(standing: Standing, name: str, title: str, tokens: str) -> Cloud:
    points = tuple((whole_tokens(row, tokens), float(row[name])) for row in standing.rows)
    return Cloud(title, points, standing.figures[tokens], standing.figures[name])
