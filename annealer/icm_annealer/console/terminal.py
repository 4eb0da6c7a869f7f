"""All that is printed goes through here: nobody's text is markup, and none of it commands the terminal. A leaf."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from icm_client.text.visible import visible


class Terminal(Console):
    """A console that takes every text as it is: no `[bold]`, no `:smile:`, no colours for what looks like a number.

    Control characters are shown, not sent (`visible`). What is styled is styled by `style=` and by `Text`.
    """

    def __init__(self, *, stderr: bool = False, width: int | None = None, **options: Any):
        super().__init__(stderr=stderr, width=width, markup=False, emoji=False, highlight=False, **options)

    def say(self, text: str, style: str | None = None, *, wraps: bool = False) -> None:
        """Prints one line, however long it is and whatever is in it; one that `wraps` is broken between words on a
        terminal, and there alone: a log is searched by lines."""
        self.print(visible(text), style=style, soft_wrap=not (wraps and self.is_terminal))

    def render_str(self, text: str, **options: Any) -> Text:
        """Whatever is a plain text, also a table's cell, becomes this."""
        options |= {"markup": False, "emoji": False, "highlight": False}
        return super().render_str(visible(text, lines=True), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Whatever became of it: what came as `Text` has not been looked at before."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(visible(segment.text, lines=True), segment.style)
