"""What plots show: every value and name that they were given, on axes that a person can read."""

from __future__ import annotations

import math

import matplotlib.style
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from icm_annealer.core.estimate import Estimate
from icm_annealer.plots.bands import BandPlot
from icm_annealer.plots.bars import Bar, BarGroup, BarPlot, BarRow
from icm_annealer.plots.base import BLUE, DASHES, GREEN, MARKERS, ORANGE, SERIES, VERMILLION, WIDTH, Plot, limits, shown
from icm_annealer.plots.clouds import Cloud, CloudPlot, ReferenceLine, short
from icm_annealer.plots.curves import Curve, CurvePlot
from icm_annealer.plots.drawing import STYLE
from icm_annealer.plots.points import PointPlot
from icm_annealer.plots.stacks import Stack, StackPlot

UNKNOWN = Estimate(math.nan, math.nan, math.nan)
FINITE = st.floats(-1e4, 1e4, allow_subnormal=False)


def drawn(plot: Plot) -> tuple[Figure, Axes]:
    with matplotlib.style.context(["default", STYLE]):
        figure = Figure(figsize=(WIDTH, plot.height), layout="constrained")
        plot.draw(figure)
        figure.draw_without_rendering()
    (axes,) = figure.axes
    return figure, axes


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def bars(rows: dict[str, tuple[Bar, ...]], **settings: object) -> BarPlot:
    groups = (BarGroup(tuple(BarRow(label, BLUE, of_row) for label, of_row in rows.items()), "a task"),)
    return BarPlot("t", "accuracy", groups, **settings)  # type: ignore[arg-type]


def assert_round(ticks: np.ndarray) -> None:
    """Multiples of a step of one or two digits that people count in."""
    (step,) = {float(f"{step:.6g}") for step in np.diff(ticks)}
    assert float(f"{step / 10 ** math.floor(math.log10(step)):.4g}") in (1, 2, 2.5, 5, 10)
    assert np.allclose(ticks / step, np.round(ticks / step), atol=1e-4)


def test_bars_end_at_their_values_and_carry_intervals_and_seeds() -> None:
    raw, calibrated = Bar(Estimate(0.5, 0.4, 0.6), (0.45, 0.55)), Bar(Estimate(0.8, 0.7, 0.85))
    plot = bars({"ICM": (raw, calibrated), "gold": (calibrated, Bar(UNKNOWN))}, kinds=("raw", "calibrated"))
    _, axes = drawn(plot)
    assert [patch.get_width() for patch in axes.patches] == [0.5, 0.8, 0.8]  # type: ignore[attr-defined]
    tops = [patch.get_y() for patch in axes.patches]  # type: ignore[attr-defined]
    assert axes.yaxis_inverted()
    assert tops == sorted(tops)
    lines = [line.get_xdata() for line in axes.lines]  # type: ignore[attr-defined]
    for ends in ([0.4, 0.6], [0.45, 0.55], [0.7, 0.85]):
        assert ends in [list(line) for line in lines]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["ICM", "gold"]
    assert [text.get_text() for text in axes.texts] == ["a task", "0.500", "0.800", "0.800", "-"]
    assert axes.get_xlabel() == "accuracy"


def test_kinds_differ_in_more_than_colour() -> None:
    bar = Bar(Estimate(0.5, 0.4, 0.6))
    _, axes = drawn(bars({"ICM": (bar, bar)}, kinds=("raw", "calibrated")))
    hollow, filled = (patch.get_facecolor()[3] for patch in axes.patches)  # type: ignore[index]
    assert (hollow, filled) == (0, 1)


def test_the_legend_names_what_is_drawn_and_nothing_else() -> None:
    known, alone = Bar(Estimate(0.5, 0.4, 0.6), (0.4, 0.6)), Bar(Estimate(0.5, math.nan, math.nan), (0.5,))
    figure, _ = drawn(bars({"a": (known, known)}, kinds=("raw", "calibrated"), chance=0.5))
    assert legend(figure) == ["raw", "calibrated", "95 % interval", "single seeds", "chance"]
    figure, _ = drawn(bars({"a": (alone,)}))
    assert legend(figure) == []


def test_an_axis_does_not_show_as_a_rise_what_hardly_differs() -> None:
    flat = (Curve("a", ((1, 0.99998), (2, 1.0))),)
    _, axes = drawn(CurvePlot("t", "x", "y", flat, (0.0, 1.0), 0.2))
    assert axes.get_ylim() == pytest.approx((0.8, 1.0))
    _, axes = drawn(CurvePlot("t", "x", "y", (Curve("a", ((1, 0.0), (2, 1e-4))),), least=0.05))
    low, high = axes.get_ylim()
    assert high - low == pytest.approx(0.05)
    assert limits(0.1, 0.9, 0.2, (0.0, 1.0)) == (0.1, 0.9)
    assert limits(-0.1, 1.1, 0.2, (0.0, 1.0)) == (0.0, 1.0)
    assert limits(-0.01, 0.01, 0.2, (0.0, 1.0)) == pytest.approx((0.0, 0.2))


@pytest.mark.filterwarnings("error")
def test_a_plot_has_room_for_its_legend() -> None:
    _, axes = drawn(CurvePlot("t", "x", "y", tuple(Curve(f"a chain with a name {k}", ((1, k),)) for k in range(40))))
    assert axes.get_position().height * axes.figure.get_figheight() > 1.2  # type: ignore[union-attr]
    _, axes = drawn(CloudPlot("t", "x", "y", tuple(cloud(f"search {k}", [9, 10], [1, 2]) for k in range(20))))
    assert axes.get_position().height * axes.figure.get_figheight() > 1.2  # type: ignore[union-attr]


@pytest.mark.slow
@settings(max_examples=15)
@given(st.lists(st.tuples(FINITE, FINITE, FINITE), min_size=1, max_size=4))
def test_an_axis_without_limits_holds_all_and_zero(values: list[tuple[float, float, float]]) -> None:
    rows = {
        str(number): (Bar(Estimate(sorted(v)[1], sorted(v)[0], sorted(v)[2]), v),) for number, v in enumerate(values)
    }
    _, axes = drawn(bars(rows, limits=None))
    low, high = axes.get_xlim()
    assert low <= min(0, *(min(v) for v in values))
    assert max(0, *(max(v) for v in values)) <= high


def test_curves_hold_every_point_and_have_a_name() -> None:
    curves = tuple(Curve(f"chain {k}", tuple((x, x / (x + k)) for x in range(1, 20 + k))) for k in range(1, 6))
    figure, axes = drawn(CurvePlot("t", "pass", "U (nats)", (*curves, Curve("_$hidden$", ((1, 0.5), (2, 0.6))))))
    for line, curve in zip(axes.lines, curves, strict=False):
        assert line.get_xydata().tolist() == [list(point) for point in curve.points]  # type: ignore[union-attr]
    assert legend(figure) == [*(curve.label for curve in curves), "_$hidden$"]
    assert (axes.get_xlabel(), axes.get_title(loc="left")) == ("pass", "U (nats)")
    assert all(tick == round(tick) for tick in axes.get_xticks())


def test_points_of_one_pass_stand_in_the_middle_of_an_axis_with_their_number_alone() -> None:
    _, axes = drawn(CurvePlot("t", "round", "y", (Curve("a", ((1, 0.2),)), Curve("b", ((1, 0.4),)))))
    low, high = axes.get_xlim()
    assert (low + high) / 2 == 1
    assert axes.get_xticks().tolist() == [1]


def test_no_two_series_are_drawn_alike_even_without_colour() -> None:
    num = math.lcm(len(MARKERS), len(DASHES))
    _, axes = drawn(CurvePlot("t", "x", "y", tuple(Curve(str(k), ((1, k), (2, k))) for k in range(num))))
    assert len({line.get_marker() for line in axes.lines}) == len(MARKERS)
    pairs = math.lcm(len(MARKERS), len(SERIES))
    _, axes = drawn(CurvePlot("t", "x", "y", tuple(Curve(str(k), ((1, k), (2, k))) for k in range(pairs))))
    assert len({(line.get_marker(), line.get_color()) for line in axes.lines}) == pairs


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-0.071, -0.069), (0.5, 0.5), (0.0, 300.0), (-1.37, -0.02)])
def test_ticks_are_round_and_no_two_are_written_alike(low: float, high: float) -> None:
    _, axes = drawn(CurvePlot("t", "x", "y", (Curve("a", ((1, low), (2, high))),)))
    assert_round(axes.get_yticks())
    texts = [label.get_text() for label in axes.get_yticklabels()]
    assert len(set(texts)) == len(texts) >= 3
    assert not axes.yaxis.get_offset_text().get_text()


@pytest.mark.slow
@settings(max_examples=15)
@given(st.tuples(FINITE, FINITE).map(sorted).filter(lambda ends: ends[1] - ends[0] > 1e-3 * max(1, abs(ends[1]))))
def test_ticks_of_any_values_are_round(ends: list[float]) -> None:
    _, axes = drawn(CurvePlot("t", "x", "y", (Curve("a", ((1, ends[0]), (2, ends[1]))),)))
    assert_round(axes.get_yticks())


def test_an_axis_ends_where_values_do() -> None:
    _, axes = drawn(CurvePlot("t", "x", "y", (Curve("a", ((1, 0.0), (2, 0.99))),), bounds=(0.0, 1.0)))
    assert axes.get_ylim() == (0, 1)
    _, axes = drawn(CurvePlot("t", "x", "y", (Curve("a", ((1, 0.4), (2, 0.5))),), bounds=(0.0, 1.0)))
    assert 0.3 < axes.get_ylim()[0] < 0.4 < 0.5 < axes.get_ylim()[1] < 0.6


def cloud(label: str, xs: list[float], ys: list[float]) -> Cloud:
    x, y = (Estimate(float(np.median(v)), min(v), max(v)) for v in (xs, ys))
    return Cloud(label, tuple(zip(xs, ys, strict=True)), x, y)


def test_clouds_hold_seeds_medians_and_intervals() -> None:
    plot = CloudPlot(
        "t",
        "tokens",
        "accuracy",
        (cloud("blocks", [1000, 1100, 1300], [0.7, 0.9, 0.8]), cloud("_joint", [100, 110, 120], [0.5, 0.6, 0.55])),
        (ReferenceLine("gold labels", Estimate(0.95, 0.9, 1.0)),),
    )
    figure, axes = drawn(plot)
    found = [np.array(line.get_xydata()).tolist() for line in axes.lines]
    assert [[1000, 0.7], [1100, 0.9], [1300, 0.8]] in found
    assert [[1100, 0.8]] in found
    assert [[1000, 0.8], [1300, 0.8]] in found
    assert [[1100, 0.7], [1100, 0.9]] in found
    assert [[0, 0.95], [1, 0.95]] in found
    (band,) = axes.patches
    assert (band.get_y(), band.get_height()) == (0.9, pytest.approx(0.1))  # type: ignore[attr-defined]
    assert legend(figure) == ["blocks", "_joint", "gold labels"]


def test_an_axis_is_logarithmic_where_values_differ_tenfold() -> None:
    _, axes = drawn(CloudPlot("t", "tokens", "y", (cloud("a", [100, 1000, 9000], [0, 1, 2]),)))
    assert axes.get_xscale() == "log"
    assert axes.get_xlabel() == "tokens (log scale)"
    low, high = axes.get_xlim()
    texts = [short(tick) for tick in axes.get_xticks() if low <= tick <= high]
    assert texts == ["100", "200", "500", "1k", "2k", "5k", "10k"][: len(texts)]
    assert len(texts) >= 6
    _, axes = drawn(CloudPlot("t", "tokens", "y", (cloud("a", [1000, 1200], [0, 1]),)))
    assert axes.get_xscale() == "linear"
    assert axes.get_xlabel() == "tokens"
    assert_round(axes.get_xticks())


def test_stacks_hold_every_number_and_their_sum() -> None:
    plot = StackPlot("t", "labels", ("sure", "likely", "no"), (Stack("spam", (3, 2, 0)), Stack("$fine$", (10, 20, 5))))
    figure, axes = drawn(plot)
    boxes = [(patch.get_x(), patch.get_width()) for patch in axes.patches]  # type: ignore[attr-defined]
    assert boxes == [(0, 3), (0, 10), (3, 2), (10, 20), (5, 0), (30, 5)]
    assert [text.get_text() for text in axes.texts] == ["5", "35"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["spam", "$fine$"]
    assert axes.yaxis_inverted()
    assert legend(figure) == ["sure", "likely", "no"]
    assert all(tick == round(tick) for tick in axes.get_xticks())
    first, _, second, _, third, _ = (patch.get_facecolor()[3] for patch in axes.patches)  # type: ignore[index]
    assert first > second > third


def test_a_stack_of_nothing_is_drawn() -> None:
    _, axes = drawn(StackPlot("t", "labels", ("a", "b"), (Stack("none", (0, 0)),)))
    assert [text.get_text() for text in axes.texts] == ["0"]


def test_a_band_holds_its_curve_and_starts_at_zero() -> None:
    points = ((0.25, Estimate(0.0, 0.0, 0.1)), (0.5, Estimate(0.1, 0.05, 0.2)), (1.0, Estimate(0.3, 0.2, 0.45)))
    figure, axes = drawn(BandPlot("t", "coverage", "wrong", points))
    assert axes.lines[0].get_xydata().tolist() == [[0.25, 0.0], [0.5, 0.1], [1.0, 0.3]]  # type: ignore[union-attr]
    (band,) = axes.collections
    corners = band.get_paths()[0].vertices.tolist()
    assert all([x, y] in corners for x, estimate in points for y in (estimate.low, estimate.high))
    assert (axes.get_xlim(), axes.get_ylim()[0]) == ((0, 1), 0)
    assert axes.get_ylim()[1] > 0.45
    assert legend(figure) == ["95 % interval"]
    assert "20 %" in [label.get_text() for label in axes.get_yticklabels()]
    _, axes = drawn(BandPlot("t", "coverage", "wrong", ((1.0, Estimate(0.0, 0.0, 0.0)),)))
    assert 0.05 <= axes.get_ylim()[1] < 0.06
    _, axes = drawn(BandPlot("t", "coverage", "wrong", ((1.0, Estimate(1.0, 0.9, 1.0)),)))
    assert axes.get_ylim() == (0, 1)


def test_points_carry_intervals_and_some_are_marked() -> None:
    points = ((0.5, Estimate(0.2, 0.1, 0.3)), (0.75, Estimate(0.4, 0.3, 0.6)), (0.9, Estimate(0.3, 0.2, 0.4)))
    plot = PointPlot("t", "share of a", "U", points, (1,), "found", "two standard errors")
    figure, axes = drawn(plot)
    lines = {str(line.get_marker()): line for line in axes.lines}
    assert lines["o"].get_xydata().tolist() == [[0.5, 0.2], [0.75, 0.4], [0.9, 0.3]]  # type: ignore[union-attr]
    assert lines["D"].get_xydata().tolist() == [[0.75, 0.4]]  # type: ignore[union-attr]
    assert lines["D"].get_color() == VERMILLION
    ((bars),) = axes.collections
    ends = [path.vertices.tolist() for path in bars.get_paths()]
    assert ends == [[[x, y.low], [x, y.high]] for x, y in points]
    low, high = axes.get_ylim()
    assert low < 0.1 < 0.6 < high
    assert legend(figure) == ["found", "two standard errors"]
    assert "60 %" in [label.get_text() for label in axes.get_xticklabels()]
    unmarked = PointPlot("t", "share of a", "U", points, (), "found")
    figure, _ = drawn(unmarked)
    assert legend(figure) == ["95 % interval"]
    assert unmarked.height < plot.height


def test_long_texts_lose_their_middle() -> None:
    assert shown("a\nb\x1b") == "a\\nb\\u001b"
    long = shown("first" + "x" * 100 + "last", 20)
    assert len(long) == 20
    assert long.startswith("first")
    assert long.endswith("last")


def test_colours_are_distinct_on_light_and_dark_paper() -> None:
    """Okabe and Ito's are chosen for colour vision; none is as light or dark as what lies behind."""

    def luminance(colour: str) -> float:
        parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for colour in (*SERIES[:-1], GREEN, ORANGE):
        own = luminance(colour) + 0.05
        assert (luminance("#ffffff") + 0.05) / own > 2.2
        assert own / (luminance("#131c2e") + 0.05) > 3
