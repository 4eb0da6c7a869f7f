"""The report of a run as an object: displayed in a notebook, or saved as a page."""

from __future__ import annotations

import html
import os
from pathlib import Path

from icm_annealer.runs.atomic_write import make_folder, write_whole

HEIGHT_PX = 720
"""The height of a report inside a notebook; it scrolls."""


class Report:
    """A self-contained HTML page about one run. A notebook shows it where it is the last value of a cell.

    `html` is the page. It loads nothing from elsewhere.

    Examples:
        >>> import icm_annealer as icm
        >>> words = ["red", "blue", "rose", "navy"]
        >>> result = icm.label(words, template="{word}:", labels=["warm", "cold"], scorer="fake:")
        >>> result.report().html[:15]
        '<!doctype html>'
    """

    def __init__(self, page: str):
        self.html = page

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Writes the page, replacing what is at `path`; returns its path. Raises RequestError if it cannot be
        written."""
        out = Path(path)
        make_folder(out.parent)
        write_whole(out, lambda place: place.write_text(self.html, encoding="utf-8"))
        return out

    def _repr_html_(self) -> str:
        """The page in a frame, so that its styles and the notebook's do not mix."""
        page = html.escape(self.html, quote=True)
        return f'<iframe srcdoc="{page}" style="width: 100%; height: {HEIGHT_PX}px; border: 0"></iframe>'

    def __repr__(self) -> str:
        return f"Report({len(self.html):,} characters of HTML; .save(path) writes it)"
