"""Why an engine failed, found in what its processes printed."""

from __future__ import annotations

import subprocess
import sys

from icm_server.engines.captured_output import explained, find_cause

PRINTED = """\
Loading weights:   0%|          | 0/1
(EngineCore pid=12) ERROR 11-24 [core.py:1] Traceback (most recent call last):
(EngineCore pid=12) ERROR 11-24 [core.py:1]   File "core.py", line 1, in run
(EngineCore pid=12) ERROR 11-24 [core.py:1] ValueError: 0.18 GiB KV cache is needed
Traceback (most recent call last):
  File "core.py", line 2, in start
RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}
"""


def test_the_cause_is_the_last_error_that_is_no_consequence() -> None:
    assert find_cause(PRINTED) == "ValueError: 0.18 GiB KV cache is needed"
    assert find_cause("all is well\n") is None


def test_the_cause_takes_the_place_of_what_points_at_it() -> None:
    failure = "vLLM could not load m: Engine core initialization failed. See root cause above."
    assert explained(failure, "ValueError: no") == "vLLM could not load m: ValueError: no"
    assert explained(failure, None).startswith("vLLM could not load m: its process has ended")
    assert explained("no such model", "ValueError: old") == "no such model"


def test_children_are_captured_and_the_terminal_is_not() -> None:
    program = """
import os, subprocess, sys
from icm_server.engines.captured_output import CapturedOutput
captured = CapturedOutput()
subprocess.run([sys.executable, "-c", "raise ValueError('from a child')"])
os.write(2, b"noise")
print("cause", captured.cause())
print("progress", file=sys.stderr)
"""
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout == "cause ValueError: from a child\n"
    assert answer.stderr == "progress\n"
