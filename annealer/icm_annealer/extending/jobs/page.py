"""The page of an extension: its figures, its alarms, and label rates and label mass over the file."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from icm_annealer.extending.alarms import Part, parts
from icm_annealer.plots.base import LEAST_NATS, LEAST_SHARE, Plot
from icm_annealer.plots.curves import Curve, CurvePlot
from icm_annealer.reporting.report import templates
from icm_annealer.runs.schema.extension import CalibrationLine, ChunkLine, ExtensionHeader, ExtensionMetrics
from icm_annealer.runs.schema.verdict import WORDS
from icm_client.text.counts import counted

MAX_CURVES = 8
"""Labels that the plot of rates shows, the commonest ones."""


def render_page(
    metrics: ExtensionMetrics, header: ExtensionHeader, calibration: CalibrationLine, chunks: Sequence[ChunkLine]
) -> str:
    """The page as HTML; every text is escaped, nothing is loaded from elsewhere."""
    found = parts(chunks)
    return (
        templates()
        .get_template("extension.html")
        .render(
            metrics=metrics,
            verdicts=WORDS,
            header=header,
            calibration=calibration,
            parts=found,
            plots=_plots(found, list(metrics.label_rates)) if len(found) > 1 else {},
        )
    )


def _plots(found: Sequence[Part], names: Sequence[str]) -> dict[str, Plot]:
    whole = np.mean([part.rates for part in found], axis=0)
    common = np.argsort(-whole, kind="stable")[:MAX_CURVES]
    rates = tuple(_curve(names[label], [float(part.rates[label]) for part in found]) for label in common)
    mass = (_curve("label mass", [float(np.exp(part.log_mass)) for part in found]),)
    margin = (_curve("margin", [part.margin for part in found]),)
    where = f"part of the file ({_sizes([part.num_rows for part in found])})"
    return {
        "rates-by-part": CurvePlot("Label rates over the file", where, "share of rows", rates, (0.0, 1.0), LEAST_SHARE),
        "mass-by-part": CurvePlot(
            "Label mass over the file", where, "probability of all labels", mass, (0.0, 1.0), LEAST_SHARE
        ),
        "margin-by-part": CurvePlot("Margins over the file", where, "mean margin (nats)", margin, least=LEAST_NATS),
    }


def _sizes(nums: Sequence[int]) -> str:
    """Of the parts, in rows: of chunks, of which the last one can be small."""
    *most, last = nums
    usual = counted(int(np.median(most)), "row")
    return f"{usual} each" if last >= np.median(most) else f"{usual} each, the last {last:,}"


def _curve(label: str, values: Sequence[float]) -> Curve:
    return Curve(label, tuple((float(number), value) for number, value in enumerate(values, start=1)))
