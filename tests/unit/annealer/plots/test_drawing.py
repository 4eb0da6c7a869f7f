"""Plots in pages and files: the same bytes every time, any text as text, both schemes, nothing from elsewhere."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from icm_annealer.core.estimate import Estimate
from icm_annealer.plots.bars import Bar, BarGroup, BarPlot, BarRow
from icm_annealer.plots.base import BLUE, INK, LINE, PAPER, SOFT, shown
from icm_annealer.plots.curves import Curve, CurvePlot
from icm_annealer.plots.drawing import FORMATS, SCHEME, inline_svg, saved_plots
from icm_client import RequestError


def curves(*labels: str) -> CurvePlot:
    return CurvePlot("t", "pass", "U (nats)", tuple(Curve(label, ((1, 0.1), (2, 0.4), (3, 0.3))) for label in labels))


def bars(label: str) -> BarPlot:
    bar = Bar(Estimate(0.5, 0.4, 0.6), (0.4, 0.6))
    return BarPlot(label, label, (BarGroup((BarRow(label, BLUE, (bar, bar)),), label),), ("raw", "calibrated"))


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter() if element.tag.endswith("text")]


def test_texts_are_shown_as_they_are(tmp_path: Path) -> None:
    hostile = ["$x^2$", "$\\frac{", "<script>alert()</script>", "_hidden", "a & 'b' \"c\"", "猫 🐈"]
    saved_plots({"curves": curves(*hostile)}, tmp_path)
    for svg in (inline_svg(curves(*hostile), "c"), (tmp_path / "curves.svg").read_text()):
        assert set(hostile) <= set(texts(svg))
        assert "<script" not in svg
    for text in hostile[:3]:
        svg = inline_svg(bars(text), "b")
        assert texts(svg).count(text) == 3  # the row, its group, the axis
        assert "<script" not in svg


@settings(max_examples=10)
@given(st.text(max_size=30))
def test_no_text_breaks_a_page(text: str) -> None:
    root = ElementTree.fromstring(inline_svg(bars(text), "b"))
    assert root.get("aria-label") == shown(text)
    assert {element.tag for element in root.iter()} <= {"svg", "g", "path", "defs", "use", "text", "clipPath", "rect"}


@pytest.mark.slow
def test_equal_plots_are_the_same_bytes_whatever_the_user_has_set(tmp_path: Path) -> None:
    rc = tmp_path / "matplotlibrc"
    rc.write_text("font.size: 30\nlines.linewidth: 9\nsvg.fonttype: path\n")
    plots = "{'bars': bars('a'), 'curves': curves('a', 'b')}"
    program = (
        f"from {__name__.replace('.', '_')} import bars, curves\n"
        "from icm_annealer.plots.drawing import inline_svg, saved_plots\nfrom pathlib import Path\nimport sys\n"
        f"saved_plots({plots}, Path(sys.argv[1]))\n"
        "Path(sys.argv[1], 'page').write_text(inline_svg(bars('a'), 'x'))\n"
    )
    copy = tmp_path / f"{__name__.replace('.', '_')}.py"
    copy.write_text(Path(__file__).read_text())
    for number, own in enumerate(({}, {"MATPLOTLIBRC": str(rc), "HOME": "/nonexistent", "PYTHONHASHSEED": "7"})):
        ended = subprocess.run(
            [sys.executable, "-c", program, tmp_path / str(number)],
            env={"PYTHONPATH": ":".join([str(tmp_path), *sys.path]), **own},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    names = {path.name for path in (tmp_path / "0").iterdir()}
    assert names == {"page", *(f"{name}.{form}" for name in ("bars", "curves") for form in FORMATS)}
    for name in names:
        assert (tmp_path / "0" / name).read_bytes() == (tmp_path / "1" / name).read_bytes(), name


def test_a_plot_follows_the_scheme_of_its_page() -> None:
    svg = inline_svg(bars("a"), "b") + inline_svg(curves("a"), "c")
    assert not [colour for colour in (INK, SOFT, LINE, PAPER) if colour in svg]
    used = set(re.findall(r"var\((--\w+)\)", svg))
    assert {f"var({name})" for name in used} == set(SCHEME.values())
    css = (files("icm_annealer.reporting") / "templates" / "page.css").read_text()
    light, dark = css.split("@media (prefers-color-scheme: dark)")
    for name in used:
        assert f"{name}: #" in light
        assert f"{name}: #" in dark.partition("} }")[0]


def test_ids_are_unique_in_a_page_and_nothing_is_loaded() -> None:
    svg = "".join(inline_svg(plot, name) for name, plot in (("a", bars("x")), ("b", bars("x")), ("c", curves("x"))))
    ids = re.findall(r'\bid="([^"]+)"', svg)
    assert len(ids) == len(set(ids)) > 0
    assert set(re.findall(r'(?:href="|url\()#([^")]+)', svg)) == set(ids)
    assert "http" not in svg
    assert "font-family" not in svg  # the page's


def test_files_are_for_papers(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "figures"
    assert saved_plots({"curves": curves("chain 1")}, folder) == f"Written to {folder}: curves; each as pdf, png, svg"
    pdf = (folder / "curves.pdf").read_bytes()
    assert b"/FontFile2" in pdf  # TrueType, not Type 3, which journals refuse
    assert b"CreationDate" not in pdf
    with Image.open(folder / "curves.png") as image:
        assert image.width == 1050
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
        assert image.convert("RGB").getpixel((2, 2)) == (255, 255, 255)
    svg = (folder / "curves.svg").read_text()
    assert 'width="252pt"' in svg
    assert "chain 1" in texts(svg)
    assert "var(" not in svg
    (folder / "curves.png").write_bytes(b"")
    saved_plots({"curves": curves("chain 1")}, folder)
    assert (folder / "curves.png").stat().st_size > 1000


def test_a_folder_that_cannot_be_made_is_an_error_of_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RequestError, match="file/figures: cannot be made"):
        saved_plots({"curves": curves("a")}, tmp_path / "file" / "figures")


def test_settings_of_the_caller_stay_as_they_are() -> None:
    before, level = dict(matplotlib.rcParams), logging.getLogger("matplotlib").level
    inline_svg(curves("for this test alone"), "c")
    assert dict(matplotlib.rcParams) == before
    assert logging.getLogger("matplotlib").level == level
