"""Extensions of many rows: time, memory, and the same labels however often the process is killed.

    python -m tests.bench.extension --rows 1000000 --kills 5

Rows are scored in the process that labels them: by the fake engine, or with `--answers hash` by a checksum of each
text, which costs next to nothing, so that what is measured is the annealer alone.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tests import finished, planted

from icm_annealer.console.terminal import Terminal
from icm_annealer.data.rows import READ_AS_IT_IS
from icm_annealer.extending.chunks import Source
from icm_annealer.extending.core import Core
from icm_annealer.extending.extend import Extension, Progress, by_contexts
from icm_annealer.extending.journal import JOURNAL, LABELS, UNLIKE
from icm_annealer.extending.settings import ExtendSettings
from icm_annealer.runs.costs import read_costs, spent
from icm_annealer.runs.directory import RunDir
from icm_client.contract.wire import ModelInfo, ScoreRequest, ScoreResponse, Usage
from icm_server.engines.fake import FakeEngine

SETTINGS = ExtendSettings(shots=8)


class EngineScorer:
    """A fake engine as a scorer, without HTTP. Contexts are tokenized once."""

    def __init__(self) -> None:
        self._engine = FakeEngine()
        self._prefixes: dict[str, list[int]] = {}

    async def model(self) -> ModelInfo:
        return self._engine.info

    async def count_tokens(self, texts: Sequence[str], *, special_tokens: bool = False) -> list[int]:
        return self._engine.tokenizer.count_many(texts)

    async def score(self, request: ScoreRequest) -> ScoreResponse:
        encode, rows, usage = self._engine.tokenizer.encode_many, [], [0, 0]
        targets = [encode([label[0]])[0].ids[0] for label in request.labels]
        prefixes = []
        for prefix in request.prefixes:
            text = "".join(request.segments[number] for number in prefix[1:] if number is not None)
            if text not in self._prefixes:
                self._prefixes[text] = encode([text])[0].ids
            prefixes.append(self._prefixes[text])
        for prompt in request.prompts:
            assert not isinstance(prompt, str)
            assert prompt[0] is not None
            assert prompt[1] is not None
            ids = prefixes[prompt[0]] + encode([request.segments[prompt[1]]])[0].ids
            answer = await self._engine.read(ids, targets, "base")
            rows.append(answer.logprobs)
            usage[0] += len(ids)
            usage[1] += len(ids) - answer.num_cached_tokens
        counted = Usage(prompt_tokens=usage[0], computed_tokens=usage[1], num_reads=len(rows))
        return ScoreResponse(logprobs=rows, usage=counted, model=self._engine.info)


class HashScorer(EngineScorer):
    """Scores by a checksum of each text."""

    async def score(self, request: ScoreRequest) -> ScoreResponse:
        sums = np.array([zlib.crc32(text.encode()) for text in request.segments], dtype=np.float64) / 2**32
        of_row = sums[[prompt[1] for prompt in request.prompts]]  # type: ignore[call-overload]
        rows = np.log(0.9 * np.stack([0.1 + 0.8 * of_row, 0.9 - 0.8 * of_row], axis=1)).tolist()
        return ScoreResponse(logprobs=rows, usage=Usage(num_reads=len(rows)), model=self._engine.info)


ANSWERS = {"engine": EngineScorer, "hash": HashScorer}


async def extend(core: Path, rows: Path, out: Path, answers: str) -> None:
    """Labels all rows, from where the folder's journal ends on."""
    read = Core.read(core)
    by = await by_contexts(ANSWERS[answers](), read, SETTINGS, "default")
    out.mkdir(exist_ok=True)
    source = Source(rows, read.task, READ_AS_IT_IS)
    silent = Progress(lambda text: None, lambda num: None, lambda num, usage: None)
    await Extension(read, source, by, SETTINGS, RunDir(out), silent).run()


def write_rows(path: Path, num: int) -> None:
    rng = random.Random(0)
    with path.open("w", encoding="utf-8") as file:
        for number in range(num):
            words = " ".join(rng.sample(planted.WARM if number % 2 else planted.COLD, 4))
            file.write(json.dumps({"id": f"row-{number}", "words": f"{words} {number}"}) + "\n")


def run_child(core: Path, rows: Path, out: Path, answers: str, kill_at: float) -> tuple[int, float]:
    """The exit status of a process that labels, killed once this share of the rows is labelled (never at 1), and its
    peak of memory in MB."""
    start = time.monotonic()
    process = os.fork()
    if not process:
        code = 1
        try:
            asyncio.run(extend(core, rows, out, answers))
            code = 0
        finally:
            os._exit(code)
    total = sum(1 for _ in rows.open("rb"))
    while True:
        done, status, used = os.wait4(process, os.WNOHANG)
        if done:
            Terminal().say(f"  {time.monotonic() - start:.0f} s, peak {used.ru_maxrss / 1000:.0f} MB")
            return status, used.ru_maxrss / 1000
        if kill_at < 1 and (out / LABELS).exists() and labelled(out) >= kill_at * total:
            os.kill(process, signal.SIGKILL)
        time.sleep(0.05)


def labelled(out: Path) -> int:
    """Rows, by the journal."""
    lines = (out / JOURNAL).read_bytes().split(b"\n")[:-1]
    return sum(json.loads(line)["num_rows"] for line in lines if b'"kind":"chunk"' in line)


def digest(out: Path) -> str:
    found = hashlib.sha256()
    for name in (LABELS, UNLIKE):
        with (out / name).open("rb") as file:
            while block := file.read(1 << 20):
                found.update(block)
    return found.hexdigest()[:16]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--answers", choices=list(ANSWERS), default="engine")
    given = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        core = finished.finished_run(place / "core", 32)
        write_rows(place / "rows.jsonl", given.rows)
        start = time.monotonic()
        status, peak = run_child(core, place / "rows.jsonl", place / "whole", given.answers, 1)
        seconds = time.monotonic() - start
        tokens = spent(read_costs(place / "whole")).usage.computed_tokens
        Terminal().say(f"whole: {given.rows / seconds:,.0f} rows/s, {tokens / given.rows:.1f} tokens a row")
        ok = not status
        if given.kills:
            for number in range(given.kills):
                kill_at = (number + 0.5) / given.kills
                run_child(core, place / "rows.jsonl", place / "killed", given.answers, kill_at)
            status, last = run_child(core, place / "rows.jsonl", place / "killed", given.answers, 1)
            alike = digest(place / "killed") == digest(place / "whole")
            Terminal().say(f"killed {given.kills} times: labels {'the same' if alike else 'DIFFER'}")
            peak, ok = max(peak, last), ok and not status and alike
        Terminal().say(f"peak {peak:.0f} MB")
        sys.exit(0 if ok and peak < 1000 else 1)


if __name__ == "__main__":
    main()
