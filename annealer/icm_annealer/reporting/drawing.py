"""Small drawings: shapes in pixels, written as SVG or PNG. A leaf."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

FONT = "system-ui, sans-serif"
SCALE = 3
"""Pixels of a PNG for one of the drawing."""


@dataclass(frozen=True)
class Box:
    """A filled rectangle."""

    left: float
    top: float
    width: float
    height: float
    colour: str


@dataclass(frozen=True)
class Stroke:
    """A straight line."""

    start: tuple[float, float]
    end: tuple[float, float]
    colour: str
    width: float = 1.0


@dataclass(frozen=True)
class Dot:
    """A circle with an edge."""

    centre: tuple[float, float]
    radius: float
    fill: str
    edge: str


@dataclass(frozen=True)
class Words:
    """A line of text that stands on a point."""

    place: tuple[float, float]
    text: str
    size: float = 13
    anchor: Literal["start", "middle", "end"] = "middle"
    colour: str = "#0f172a"


Shape = Box | Stroke | Dot | Words


@dataclass(frozen=True)
class Drawing:
    """Shapes on white, those that come later above the others."""

    width: int
    height: int
    title: str
    """Read out where a drawing cannot be seen."""
    shapes: Sequence[Shape]


def to_svg(drawing: Drawing) -> str:
    """One `svg` element; every text is escaped, nothing is loaded from elsewhere."""
    size = f'viewBox="0 0 {drawing.width} {drawing.height}" width="{drawing.width}" height="{drawing.height}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" font-family="{FONT}">',
        f"<title>{html.escape(drawing.title)}</title>",
        f'<rect width="{drawing.width}" height="{drawing.height}" fill="#ffffff"/>',
        *(_svg(shape) for shape in drawing.shapes),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _svg(shape: Shape) -> str:
    if isinstance(shape, Box):
        place = f'x="{shape.left:.1f}" y="{shape.top:.1f}" width="{shape.width:.1f}" height="{shape.height:.1f}"'
        return f'<rect {place} fill="{shape.colour}"/>'
    if isinstance(shape, Stroke):
        (x1, y1), (x2, y2) = shape.start, shape.end
        place = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
        return f'<line {place} stroke="{shape.colour}" stroke-width="{shape.width}"/>'
    if isinstance(shape, Dot):
        place = f'cx="{shape.centre[0]:.1f}" cy="{shape.centre[1]:.1f}" r="{shape.radius}"'
        return f'<circle {place} fill="{shape.fill}" stroke="{shape.edge}"/>'
    place = f'x="{shape.place[0]:.1f}" y="{shape.place[1]:.1f}" font-size="{shape.size}"'
    return f'<text {place} text-anchor="{shape.anchor}" fill="{shape.colour}">{html.escape(shape.text)}</text>'


def to_png(drawing: Drawing, path: Path) -> None:
    """Writes the file. Raises ImportError where Pillow is not installed."""
    from PIL import Image, ImageDraw, ImageFont

    image = Image.new("RGB", (drawing.width * SCALE, drawing.height * SCALE), "#ffffff")
    canvas = ImageDraw.Draw(image)
    for shape in drawing.shapes:
        if isinstance(shape, Box):
            left, top = shape.left * SCALE, shape.top * SCALE
            right, bottom = left + shape.width * SCALE - 1, top + shape.height * SCALE - 1
            if right >= left and bottom >= top:
                canvas.rectangle((left, top, right, bottom), fill=shape.colour)
        elif isinstance(shape, Stroke):
            ends = [(x * SCALE, y * SCALE) for x, y in (shape.start, shape.end)]
            canvas.line(ends, fill=shape.colour, width=round(shape.width * SCALE))
        elif isinstance(shape, Dot):
            (x, y), radius = shape.centre, shape.radius
            around = tuple(SCALE * v for v in (x - radius, y - radius, x + radius, y + radius))
            canvas.ellipse(around, fill=shape.fill, outline=shape.edge, width=SCALE)
        else:
            font = ImageFont.load_default(shape.size * SCALE)
            place = (shape.place[0] * SCALE, shape.place[1] * SCALE)
            anchor = {"start": "ls", "middle": "ms", "end": "rs"}[shape.anchor]
            canvas.text(place, shape.text, fill=shape.colour, font=font, anchor=anchor)
    image.save(path, "PNG")
