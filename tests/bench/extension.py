"""Extensions of many rows: time, memory, tokens as planned, and the same labels however often the process is killed.

    python -m tests.bench.extension --rows 1000000 --kills 5

`icm extend` labels rows with `icm-server serve --engine fake`, once without interruption, and once, with a scorer of
its own that has answered nothing yet, killed and resumed.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests import finished, planted
from tests.bench import programs

from icm_annealer.console.terminal import Terminal
from icm_annealer.extending.journal import JOURNAL, LABELS, UNLIKE
from icm_annealer.runs.costs import read_costs, spent

MAX_MB = 1000
MAX_TOKENS_OFF = 0.05
SETTINGS = ("--shots", "8")


class Ended(NamedTuple):
    """A process of `icm extend`."""

    code: int
    seconds: float
    processor_s: float
    peak_mb: float


class Work(NamedTuple):
    """What is labelled, and by what."""

    core: Path
    rows: Path
    num_rows: int
    url: str

    def arguments(self, command: str) -> list[str]:
        """Of `icm extend` or `icm plan`."""
        given = [command, str(self.core), "--data", str(self.rows), "--scorer", self.url, *SETTINGS, "--check", "0"]
        return [sys.executable, "-m", "icm_annealer.cli", *given]

    def planned(self) -> int:
        """The tokens by `icm plan`."""
        command = [*self.arguments("plan"), "--tokens-per-s", "1", "--json", "--quiet"]
        found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        return int(found["ways"][0]["tokens"])

    def extended(self, out: Path, options: Sequence[str] = (), kill_at: float = 1.0) -> Ended:
        """Runs `icm extend`, killed once this share of the rows is labelled (never at 1)."""
        start, folder = time.monotonic(), out.with_name(f"{out.name}.extension")
        process = subprocess.Popen([*self.arguments("extend"), "--out", str(out), "--quiet", *options])
        while True:
            done, status, used = os.wait4(process.pid, os.WNOHANG)
            if done:
                seconds, processor_s = time.monotonic() - start, used.ru_utime + used.ru_stime
                ended = Ended(os.waitstatus_to_exitcode(status), seconds, processor_s, used.ru_maxrss / 1000)
                process.returncode = ended.code
                Terminal().say(f"  ended with {ended.code} after {ended.seconds:,.0f} s, peak {ended.peak_mb:,.0f} MB")
                return ended
            if kill_at < 1 and num_labelled(folder) >= kill_at * self.num_rows:
                os.kill(process.pid, signal.SIGKILL)  # Popen's own would wait for it, and take the figures
            time.sleep(0.05)


def num_labelled(folder: Path) -> int:
    """Rows, by the journal."""
    if not (folder / JOURNAL).exists():
        return 0
    lines = (folder / JOURNAL).read_bytes().split(b"\n")[:-1]
    return sum(json.loads(line)["num_rows"] for line in lines if b'"kind":"chunk"' in line)


def write_rows(path: Path, num: int) -> None:
    rng = random.Random(0)
    with path.open("w", encoding="utf-8") as file:
        for number in range(num):
            words = " ".join(rng.sample(planted.WARM if number % 2 else planted.COLD, 4))
            file.write(json.dumps({"id": f"row-{number}", "words": f"{words} {number}"}) + "\n")


def digest(out: Path) -> str:
    """Of both files of rows, and of the file of labels."""
    found, folder = hashlib.sha256(), out.with_name(f"{out.name}.extension")
    for path in (folder / LABELS, folder / UNLIKE, out):
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                found.update(block)
    return found.hexdigest()[:16]


async def measured(place: Path, num_rows: int, num_kills: int) -> bool:
    """Whether all bounds hold."""
    console, whole, killed = Terminal(), place / "whole.jsonl", place / "killed.jsonl"
    core = await asyncio.to_thread(finished.finished_run, place / "core", 32)
    write_rows(place / "rows.jsonl", num_rows)
    async with programs.scorer("fake", engine="fake") as server:
        work = Work(core, place / "rows.jsonl", num_rows, server.url)
        planned = await asyncio.to_thread(work.planned)
        ended = [await asyncio.to_thread(work.extended, whole)]
    tokens = spent(read_costs(whole.with_name(f"{whole.name}.extension"))).usage.computed_tokens
    console.say(
        f"whole: {num_rows / ended[0].seconds:,.0f} rows/s, {num_rows / ended[0].processor_s:,.0f} rows a processor "
        f"second of icm extend, {tokens / num_rows:.2f} tokens a row"
    )
    console.say(f"tokens: {tokens:,} computed, {planned:,} planned ({planned / tokens - 1:+.1%})")
    ok = not ended[0].code and abs(planned / tokens - 1) <= MAX_TOKENS_OFF
    if num_kills:
        async with programs.scorer("fake", engine="fake") as server:
            work = Work(core, place / "rows.jsonl", num_rows, server.url)
            for number in range(num_kills):
                kill_at, options = (number + 0.5) / num_kills, ["--resume"] if number else []
                ended.append(await asyncio.to_thread(work.extended, killed, options, kill_at))
            last = await asyncio.to_thread(work.extended, killed, ["--resume"])
        num_killed = sum(one.code == -signal.SIGKILL for one in ended)
        alike = not last.code and digest(killed) == digest(whole)
        console.say(f"killed {num_killed} times: labels {'the same' if alike else 'DIFFER'}")
        ended.append(last)
        ok = ok and alike and num_killed == num_kills
    peak = max(one.peak_mb for one in ended)
    console.say(f"peak {peak:,.0f} MB")
    return ok and peak < MAX_MB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(0 if asyncio.run(measured(Path(folder), given.rows, given.kills)) else 1)


if __name__ == "__main__":
    main()
