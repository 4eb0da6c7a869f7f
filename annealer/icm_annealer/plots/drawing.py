"""Plots drawn by matplotlib: as SVG inside a page, and as files for papers.

The same plot gives the same bytes on one version of matplotlib: no dates, no random ids, and no settings of the
user's.
"""

from __future__ import annotations

import io
import logging
import re
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from xml.etree import ElementTree

from markupsafe import Markup

from icm_annealer.plots.base import INK, LINE, PAPER, SOFT, WIDTH, Plot, shown
from icm_annealer.runs.atomic_write import make_folder, write_whole

FORMATS = ("pdf", "png", "svg")
METADATA = {
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
}
STYLE = {
    "figure.dpi": 72,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 7,
    "axes.titlesize": 7.5,
    "axes.titlelocation": "left",
    "axes.labelsize": 7,
    "axes.facecolor": "none",
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.formatter.useoffset": False,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "legend.handlelength": 2.2,
    "legend.columnspacing": 1.2,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.5,
    "text.color": INK,
    "text.parse_math": False,  # a label may hold dollars
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "ytick.major.size": 0,
    "pdf.fonttype": 42,
    "savefig.dpi": 300,
    "svg.fonttype": "none",
    "svg.hashsalt": "icm",
}
SCHEME = {INK: "var(--ink)", SOFT: "var(--soft)", LINE: "var(--line)", PAPER: "var(--paper)"}
"""For each colour of a plot the page's colour, so that the plot follows the page's light or dark scheme."""
_LOCK = threading.Lock()
"""matplotlib's settings are global; a report may be drawn by any thread."""


@lru_cache(maxsize=256)
def inline_svg(plot: Plot, name: str) -> Markup:
    """The plot as an `svg` element of a page, whose text can be selected and has the page's font.

    `name` is unique in the page: ids begin with it.
    """
    root = ElementTree.fromstring(_drawn(plot, "svg", "none"))
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.rpartition("}")[2] in ("metadata", "style"):
                parent.remove(child)
    used = set(re.findall(r'(?:url\(|href=")#([^)"]+)', ElementTree.tostring(root, encoding="unicode")))
    for element in root.iter():
        element.tag, element.tail = element.tag.rpartition("}")[2], None
        for key, value in list(element.attrib.items()):
            del element.attrib[key]
            if key != "id":
                element.set(key.rpartition("}")[2], _for_page(value, name))
            elif value in used:
                element.set(key, f"{name}-{value}")
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.set("role", "img")
    root.set("aria-label", shown(plot.title, 200))
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def saved_plots(plots: Mapping[str, Plot], folder: Path) -> str:
    """Writes each plot as NAME.pdf, NAME.png (300 dpi) and NAME.svg, one column wide, and says so.

    Files of these names are replaced. Raises RequestError where nothing can be written.
    """
    make_folder(folder)
    for name, plot in plots.items():
        for form in FORMATS:
            write_whole(folder / f"{name}.{form}", partial(_write, _drawn(plot, form, "white")))
    return f"Written to {folder}: {', '.join(plots)}; each as {', '.join(FORMATS)}"


def _write(data: bytes, place: Path) -> None:
    place.write_bytes(data)


def _for_page(value: str, name: str) -> str:
    value = re.sub(r"(\.\d\d)\d+", r"\1", " ".join(value.split()))
    value = re.sub(r"#[0-9a-f]{6}\b", lambda match: SCHEME.get(match[0], match[0]), value)
    value = re.sub(r"font-family: [^;]*; ", "", value)
    return re.sub(r"(^|url\()#", rf"\g<1>#{name}-", value)


def _drawn(plot: Plot, form: str, background: str) -> bytes:
    with _only_errors(logging.getLogger("matplotlib")):  # no warning that it caches fonts, or where
        import matplotlib.style
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure

    file = io.BytesIO()
    with _LOCK, matplotlib.style.context(["default", STYLE]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # a page's font may have it
        figure = Figure(figsize=(WIDTH, plot.height), layout="constrained", facecolor=background)
        plot.draw(figure)
        if form == "svg":  # `savefig` would draw everything twice, the first time only to lay it out
            FigureCanvasSVG(figure).print_svg(file, metadata=METADATA[form])  # type: ignore[no-untyped-call]
        else:
            figure.savefig(file, format=form, metadata=METADATA[form])
    return file.getvalue()


@contextmanager
def _only_errors(logger: logging.Logger) -> Iterator[None]:
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
