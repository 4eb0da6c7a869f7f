"""The plot of U at the label rates that a search tried."""

from __future__ import annotations

from collections.abc import Sequence

from icm_annealer.core.estimate import Estimate
from icm_annealer.plots.base import LEAST_NATS
from icm_annealer.plots.points import PointPlot
from icm_annealer.runs.schema.metrics import RatesMetrics


def rates_plot(tried: Sequence[RatesMetrics], unit: str) -> PointPlot:
    """U over the share of the label that is commonest at the most uneven rates, with intervals of two standard errors
    either way: U is clearly lower at one rate than at another if neither interval contains the other's U, which is the
    verdict's limit."""
    uneven = max(tried, key=lambda one: max(one.label_rates.values())).label_rates
    name = max(uneven, key=lambda label: uneven[label])
    ordered = sorted(tried, key=lambda one: one.label_rates[name])
    return PointPlot(
        "U by label rates",
        f"share of the label {name}",
        f"U ({unit})",
        tuple((one.label_rates[name], Estimate(one.u, one.u - 2 * one.u_se, one.u + 2 * one.u_se)) for one in ordered),
        tuple(number for number, one in enumerate(ordered) if one.is_winner),
        "this run's labels",
        "two standard errors over the examples",
        LEAST_NATS,
    )
