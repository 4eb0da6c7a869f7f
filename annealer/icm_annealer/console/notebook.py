"""Output below a notebook's cell that is updated in place while the cell runs. Needs IPython, but no widgets."""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Callable
from typing import Any

from rich.console import RenderableType

from icm_annealer.console.terminal import Terminal

WIDTH = 110
REFRESH_S = 0.25
FORMAT = '<pre style="font-family: monospace; line-height: 1.25; white-space: pre">{code}</pre>'


def in_notebook() -> bool:
    """Whether this program is a notebook's kernel."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")


class NotebookView:
    """Shows what `render` returns, drawn again every REFRESH_S seconds by a thread of its own."""

    def __init__(self, render: Callable[[], RenderableType]):
        self._render = render
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._redraw, name="icm-progress", daemon=True)
        self._handle: Any = None

    def start(self) -> None:
        self._handle = sys.modules["IPython"].display.display(self._shown(), raw=True, display_id=True)
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()

    def _redraw(self) -> None:
        is_last = False
        while not is_last:
            is_last = self._ended.wait(REFRESH_S)
            self._handle.update(self._shown(), raw=True)

    def _shown(self) -> dict[str, str]:
        page = Terminal(file=io.StringIO(), width=WIDTH, record=True, force_jupyter=False)
        page.print(self._render())
        text = page.export_text(clear=False)
        return {"text/plain": text, "text/html": page.export_html(inline_styles=True, code_format=FORMAT)}
