"""What `icm baselines` found, as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Sequence

from icm_annealer.benchmarks.baselines.summaries import BaselinesTable, MethodSummary
from icm_annealer.benchmarks.baselines.tables import NOTES, format_estimate, format_gap, format_tokens, heading
from icm_annealer.evaluation.test_set import KINDS
from icm_annealer.reporting.bars import Bar
from icm_annealer.reporting.drawing import Drawing, to_svg
from icm_annealer.reporting.evaluation_table import FIGURES
from icm_annealer.reporting.report import templates


def render_page(table: BaselinesTable, methods: Sequence[MethodSummary], figure: Drawing | None) -> str:
    """The page as HTML; every text is escaped, nothing is loaded from elsewhere."""
    return (
        templates()
        .get_template("baselines.html")
        .render(
            table=table,
            heading=heading(table),
            methods=methods,
            figure=to_svg(figure) if figure else None,
            kinds=KINDS,
            figures={name: title for name, title in FIGURES.items() if name != "accuracy"},
            bars=lambda kind: [_bar(summary, kind) for summary in methods],
            format_estimate=format_estimate,
            format_tokens=format_tokens,
            format_gap=format_gap,
            notes=NOTES,
        )
    )


def _bar(summary: MethodSummary, kind: str) -> Bar:
    values = summary.seeds(kind)
    dots = values if len(values) > 1 else []
    return Bar(summary.method.title, summary.method.colour, summary.figures[kind]["accuracy"], dots)
