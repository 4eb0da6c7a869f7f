"""What `icm baselines` found, as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from icm_annealer.benchmarks.baselines.standings import Standing
from icm_annealer.benchmarks.baselines.tables import NOTES, gap_told, heading, tokens, told
from icm_annealer.evaluation.test_set import KINDS
from icm_annealer.reporting.bars import Bar
from icm_annealer.reporting.drawing import Drawing, to_svg
from icm_annealer.reporting.evaluation_table import FIGURES
from icm_annealer.reporting.report import templates


def render_page(table: dict[str, Any], standings: Sequence[Standing], figure: Drawing | None) -> str:
    """The page as HTML; every text is escaped, nothing is loaded from elsewhere."""
    return (
        templates()
        .get_template("baselines.html")
        .render(
            table=table,
            heading=heading(table),
            standings=standings,
            figure=to_svg(figure) if figure else None,
            kinds=KINDS,
            figures={name: title for name, title in FIGURES.items() if name != "accuracy"},
            bars=lambda kind: [_bar(standing, kind) for standing in standings],
            told=told,
            tokens=tokens,
            gap_told=gap_told,
            notes=NOTES,
        )
    )


def _bar(standing: Standing, kind: str) -> Bar:
    values = standing.seeds(kind)
    dots = values if len(values) > 1 else []
    return Bar(standing.method.title, standing.method.colour, standing.figures[kind]["accuracy"], dots)
