"""Progress for the Python API, shown by default in terminals and notebooks."""

from __future__ import annotations

import sys

from icm_annealer.console.notebook import in_notebook
from icm_annealer.console.progress import RunProgress
from icm_annealer.console.terminal import Terminal


def watch(shown: bool | None, title: str, label_names: list[str]) -> RunProgress:
    """True shows it everywhere, as lines where there is neither terminal nor notebook; None shows it in these two
    only; False shows nothing."""
    is_seen = in_notebook() or sys.stderr.isatty() if shown is None else shown
    return RunProgress(Terminal(stderr=True, quiet=not is_seen), title, label_names)
