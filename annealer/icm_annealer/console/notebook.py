"""What a notebook shows below a cell while it runs: a text that is updated in place. Needs IPython, no widgets."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable
from typing import Any

from rich.console import RenderableType

from icm_annealer.console.terminal import Terminal

WIDTH = 110
REFRESH_S = 0.25
FORMAT = '<pre style="line-height: 1.25; white-space: pre">{code}</pre>'


def in_notebook() -> bool:
    """Whether this program is a notebook's kernel."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")


class NotebookView:
    """Shows what `render` returns, at most every REFRESH_S seconds."""

    def __init__(self, render: Callable[[], RenderableType]):
        self._render = render
        self._handle: Any = None
        self._next = 0.0

    def start(self) -> None:
        display = sys.modules["IPython"].display.display
        self._handle = display(self._shown(), raw=True, display_id=True)

    def refresh(self) -> None:
        if self._handle is not None and time.monotonic() >= self._next:
            self._next = time.monotonic() + REFRESH_S
            self._handle.update(self._shown(), raw=True)

    def stop(self) -> None:
        self._next = 0.0
        self.refresh()

    def _shown(self) -> dict[str, str]:
        page = Terminal(file=io.StringIO(), width=WIDTH, record=True, force_jupyter=False)
        page.print(self._render())
        text = page.export_text(clear=False)
        return {"text/plain": text, "text/html": page.export_html(inline_styles=True, code_format=FORMAT)}
