"""Progress for the Python API, shown by default in terminals and notebooks."""

from __future__ import annotations

import sys

from icm_annealer.console.notebook import in_notebook
from icm_annealer.console.progress import RunProgress
from icm_annealer.console.terminal import Terminal


def watch(shown: bool | None, title: str, label_names: list[str]) -> RunProgress:
    """The progress of one piece of work; see `watched` for `shown`."""
    return RunProgress(watched(shown), title, label_names)


def watched(shown: bool | None) -> Terminal:
    """True shows progress everywhere, as lines where there is neither terminal nor notebook; None shows it in these two
    only; False shows nothing."""
    is_seen = in_notebook() or sys.stderr.isatty() if shown is None else shown
    return Terminal(stderr=True, quiet=not is_seen)
