"""The lines of a sweep, where there is no terminal."""

from __future__ import annotations

import io

import numpy as np
from tests.hand_clock import HandClock

from icm_annealer.console.sweep_progress import SweepProgress
from icm_annealer.console.terminal import Terminal
from icm_annealer.scoring.pass_event import PassEvent
from icm_annealer.scoring.passes import PassRequest, PassResult
from icm_annealer.scoring.prefix_plan import PlanKind

NOBODY = np.zeros(0, dtype=np.int64)
PASS = PassEvent(
    1, PassRequest(NOBODY, NOBODY, NOBODY, PlanKind("tree")), PassResult(np.zeros((0, 2))), 0.5, 0.5, 0, [], False, 0.0
)


def test_lines_count_runs_and_tell_the_time_left() -> None:
    out, clock = io.StringIO(), HandClock()
    with SweepProgress(Terminal(file=out, width=200), "sweep", clock) as progress:
        progress.begin({"a": 4, "b": 4, "c": 4}, num_before=2)
        for name in ("a", "b"):
            shown = progress.run(name)
            clock.now += 10
            for _ in range(4 if name == "a" else 2):
                shown.on_pass(PASS)
        progress.tokens(1234)
        progress.end("a", "done", "U +0.500")
        progress.leave("b")
        progress.end("b", "failed", "its task\x1b")
        progress.end("c", "unfinished")
    assert out.getvalue().splitlines() == [
        "0:00  3 runs to make, 2 done before",
        "0:20  a done: U +0.500  (1 waiting, 1 running, 3 done, 1,234 tokens, about 0:12 left)",
        "0:20  b failed: its task\\u001b  (1 waiting, 0 running, 3 done, 1 failed, 1,234 tokens, about 0:08 left)",
        "0:20  c unfinished  (0 waiting, 0 running, 3 done, 1 failed, 1 unfinished, 1,234 tokens)",
    ]
