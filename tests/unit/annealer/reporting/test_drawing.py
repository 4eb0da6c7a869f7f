"""Drawings as SVG and as PNG."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from PIL import Image

from icm_annealer.reporting.drawing import SCALE, Box, Dot, Drawing, Stroke, Words, to_png, to_svg

DRAWING = Drawing(
    100,
    60,
    'a < "b" & c',
    [
        Box(10, 20, 30, 40, "#2563eb"),
        Stroke((50, 10), (50, 50), "#dc2626", 2),
        Dot((80, 30), 8, "#eab308", "#0f172a"),
        Words((25, 15), "<script>0.5</script>", 12),
    ],
)


def test_svg_is_well_formed_and_escaped() -> None:
    root = ElementTree.fromstring(to_svg(DRAWING))
    names = [element.tag.rpartition("}")[2] for element in root]
    assert names == ["title", "rect", "rect", "line", "circle", "text"]
    assert root[0].text == 'a < "b" & c'
    assert root[-1].text == "<script>0.5</script>"
    assert root[-1].attrib["text-anchor"] == "middle"


def test_png_shows_the_same(tmp_path: Path) -> None:
    to_png(DRAWING, tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as image:
        assert image.size == (100 * SCALE, 60 * SCALE)

        def at(x: float, y: float) -> object:
            return image.getpixel((round(x * SCALE), round(y * SCALE)))

        assert at(25, 40) == (0x25, 0x63, 0xEB)
        assert at(50, 30) == (0xDC, 0x26, 0x26)
        assert at(80, 30) == (0xEA, 0xB3, 0x08)
        assert at(5, 40) == at(90, 55) == (255, 255, 255)
        dark = [at(x, y) != (255, 255, 255) for x in range(0, 60) for y in range(6, 16)]
        assert sum(dark) > 20  # words
