"""Hashes of what every search asks, journals and finds on the fake engine: a change of structure leaves them alone.

    python -m tests.search_hashes             compares with search_hashes.json, and names what differs
    python -m tests.search_hashes --keep      writes search_hashes.json anew: after a change of answers on purpose

Names of fields are not hashed: renaming one changes nothing. Neither are seconds, nor tokens as the engine counted
them, which depend on what arrived together.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import zstandard
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from tests import planted
from tests.http_app import running

from icm_annealer.cli import app as cli
from icm_server.engines.fake import FakeEngine
from icm_server.http.app import create_app

KEPT = Path(__file__).with_suffix(".json")

RULES = """\
name: rules
template: "Words: {words}\\nKind:"
labels: {hot: " hot", cool: " cool"}
data: data.jsonl
gold: label
group: team
leave_out: group
rules:
  - {kind: at_most_one, label: hot}
  - {kind: different_keys, key: words, label: hot}
"""
MANY_CLASSES = """\
name: many-classes
template: "Words: {words}\\nKind:"
labels: {hot: " hot", cool: " cool", fair: " fair", dull: " dull", wet: " wet", dry: " dry", calm: " calm"}
data: data.jsonl
gold: label
"""
LONG_LABELS = """\
name: long-labels
template: "Words: {words}\\nKind:"
labels: {hot: " a very hot one, like fire", cool: " a very cool one, like ice"}
data: data.jsonl
gold: label
group: pair
rules: [{kind: mirrored}]
"""
TASKS = {"rules": RULES, "many-classes": MANY_CLASSES, "long-labels": LONG_LABELS}
SEARCHES = ("blocks", "official", "zero_shot", "growing", "joint", "gibbs", "bootstrap")
VARIANTS = {
    "blocks by tree": ("--plan", "tree"),
    "blocks by chain": ("--plan", "chain"),
    "blocks by fixed": ("--plan", "fixed"),
    "blocks, margin": ("--measure", "margin"),
    "blocks, logprob": ("--measure", "logprob"),
}
NOT_HASHED = {
    *("seconds", "waited", "search_seconds", "machine", "check", "version", "format"),
    *(
        "prompt_tokens",
        "computed_tokens",
        "cached_tokens",
        "tokens",
        "read_cache_prompts",
        "shared",
        "budget",
    ),
}


class Recorder:
    """An application around another one that keeps the bodies of all requests."""

    def __init__(self, app: ASGIApp):
        self._app = app
        self.bodies: list[Any] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST":
            return await self._app(scope, receive, send)
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        encoding = dict(scope["headers"]).get(b"content-encoding", b"")
        plain = {b"gzip": gzip.decompress, b"zstd": _from_zstd}.get(encoding, bytes)(body)
        self.bodies.append([scope["path"], json.loads(plain)])
        waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def again() -> Message:
            return waiting.pop() if waiting else await receive()

        await self._app(scope, again, send)


def _from_zstd(body: bytes) -> bytes:
    with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(body)) as stream:
        return stream.read()


@contextlib.contextmanager
def recording() -> Iterator[tuple[str, Recorder]]:
    """The address of a scorer of its own, and what it is asked."""

    async def make_engine() -> FakeEngine:
        return FakeEngine()

    recorder = Recorder(create_app(make_engine))
    with running(recorder) as url:  # type: ignore[arg-type]
        yield url, recorder


def plain(value: Any) -> Any:
    """A value without the names of its fields, in an order that does not depend on them."""
    if isinstance(value, dict):
        fields = [plain(field) for name, field in value.items() if name not in NOT_HASHED]
        return sorted((f for f in fields if f is not None), key=lambda field: json.dumps(field, sort_keys=True))
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


def hashed(value: Any) -> str:
    return hashlib.sha256(json.dumps(plain(value)).encode()).hexdigest()[:16]


def icm(*arguments: object) -> None:
    """Runs a command and says nothing unless it fails."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        cli.app([str(argument) for argument in arguments], standalone_mode=False)


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def searched(folder: Path, task: Path, *options: str) -> dict[str, str]:
    """The hashes of one `icm run`."""
    with recording() as (url, recorder):
        # By default a run is an experiment of its own, named after its folder.
        options = ("--experiment", "default", *options)
        icm("run", "--task", task, "--scorer", url, "--out", folder / "run", "--overwrite", *options)
    journal, metrics = lines(folder / "run/journal.jsonl"), json.loads((folder / "run/metrics.json").read_text())
    return {
        "requests": hashed(sorted(map(hashed, recorder.bodies))),
        "settings": hashed(journal[0]["settings"]),
        "journal": hashed(journal[1:]),
        "labels": hashed(lines(folder / "run/labels.jsonl")),
        "metrics": hashed(metrics),
    }


def compared(folder: Path, task: Path) -> dict[str, str]:
    """The hashes of the rows of `icm baselines` and of `icm search-bench`."""
    few = ("--test-size", 12, "--seeds", 1)
    with recording() as (url, recorder):
        icm("baselines", "--task", task, "--scorer", url, "--out", folder / "baselines", "--examples", 12, *few)
    figures = json.loads((folder / "baselines/baselines.json").read_text())
    found = {"baselines": hashed(figures), "baselines' requests": hashed(sorted(map(hashed, recorder.bodies)))}
    out = folder / "bench.json"
    with recording() as (url, recorder):
        icm("search-bench", "--tasks", task, "--scorer", url, "--out", out, "--sizes", 12, "--chain", "--long", *few)
    figures = json.loads(out.read_text())
    return found | {"search-bench": hashed(figures), "bench's requests": hashed(sorted(map(hashed, recorder.bodies)))}


def write_task(folder: Path, text: str, num: int) -> Path:
    """A task and its data: pairs, and teams of three beside one of twelve."""
    rows = planted.rows(num)
    names = re.findall(r'(\w+): "', text.split("labels:")[1])
    for number, row in enumerate(rows):
        row["team"] = "all" if number < 12 else f"team-{number // 3}"
        row["label"] = row["label"] if len(names) == 2 else names[number % len(names)]
    folder.mkdir(parents=True)
    (folder / "task.yaml").write_text(text, encoding="utf-8")
    planted.write_rows(folder / "data.jsonl", rows)
    return folder / "task.yaml"


def everything(folder: Path) -> dict[str, dict[str, str]]:
    """All hashes, by what was run."""
    found = {}
    for name, text in TASKS.items():
        task = write_task(folder / name, text, 24)
        for search in SEARCHES:
            found[f"{name}: {search}"] = searched(folder, task, "--search", search, "--seed", "3")
    for variant, options in VARIANTS.items():
        found[f"long-labels: {variant}"] = searched(folder, folder / "long-labels/task.yaml", *options)
    task = write_task(folder / "compared", LONG_LABELS, 40)
    return found | {"compared": compared(folder, task)}


def kept() -> dict[str, dict[str, str]]:
    """The hashes to compare with, by what was run."""
    hashes: dict[str, dict[str, str]] = json.loads(KEPT.read_text(encoding="utf-8"))
    return hashes


def differences(found: dict[str, dict[str, str]]) -> list[str]:
    """What is not as it was kept."""
    old = kept()
    changed = [f"{run}: {what}" for run in old for what in old[run] if old[run][what] != found.get(run, {}).get(what)]
    return changed + [f"{run}: not kept" for run in found if run not in old]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = everything(Path(folder))
    if "--keep" in sys.argv:
        KEPT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        return
    differing = differences(found)
    print("\n".join(differing) or f"{sum(map(len, found.values()))} hashes are as they were kept")
    sys.exit(bool(differing))


if __name__ == "__main__":
    main()
