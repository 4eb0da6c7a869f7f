"""The console for all output. Texts are never interpreted as markup or as control sequences. A leaf."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from icm_client.text.visible import visible

UNBROKEN = 1_000_000
"""Columns of a file or pipe, where no line is broken and no table's cell wrapped."""


class Terminal(Console):
    """Prints every text as it is: no `[bold]`, no `:smile:`, no colours for numbers.

    Control characters are shown, not sent (`visible`). Styles come from `style=` and from `Text` only. Where output is
    no terminal, no line is broken.
    """

    def __init__(self, *, stderr: bool = False, width: int | None = None, **options: Any):
        super().__init__(stderr=stderr, width=width, markup=False, emoji=False, highlight=False, **options)
        if width is None and not self.is_terminal:
            self.width = UNBROKEN

    def say(self, text: str, style: str | None = None, *, wraps: bool = False) -> None:
        """Prints one line of any length and content. One that `wraps` is broken between words, on a terminal only: logs
        are searched by lines."""
        self.print(visible(text), style=style, soft_wrap=not (wraps and self.is_terminal))

    def ask(self, question: str, default: str = "") -> str:
        """The line that is typed, without outer spaces; `default` for an empty one. Raises EOFError at the end of the
        input."""
        shown = f" [{default}]" if default else ""
        self.print(visible(f"{question}{shown}: "), end="", soft_wrap=True)
        return input().strip() or default

    def render_str(self, text: str, **options: Any) -> Text:
        """Makes a Text of a plain string, such as a table's cell."""
        options |= {"markup": False, "emoji": False, "highlight": False}
        return super().render_str(visible(text, lines=True), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Shows control characters also in what came as `Text`."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(visible(segment.text, lines=True), segment.style)
