"""Where a view that changes is drawn: on a terminal, in a notebook, or nowhere."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import RenderableType
from rich.live import Live

from icm_annealer.console.notebook import NotebookView, in_notebook
from icm_annealer.console.terminal import Terminal


def live_view(console: Terminal, render: Callable[[], RenderableType]) -> Live | NotebookView | None:
    """What draws `render` again and again between its `start` and its `stop`; None where only lines can be printed."""
    if in_notebook():
        return NotebookView(render)
    if console.is_interactive:  # a dumb terminal would show a live panel only at its end
        return Live(console=console, get_renderable=render, refresh_per_second=4, transient=False)
    return None
