"""The programs of one measurement, each a process of its own: scorer, victim, attackers, and a sink to compare with."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.attack.experiments import NAME

from icm_server.auth.keys_file import add_key

FAKE_ENGINE = (
    *("--engine", "fake", "--engine-arg", "tokens_per_s=40000", "--engine-arg", "delay_s=0.04"),
    *("--engine-arg", "max_concurrent_tokens=8192", "--engine-arg", "cache_tokens=16384"),
)
"""As fast as a small model: a read takes 40 ms, a full step of 4,096 tokens 0.1 s."""
START_LIMIT_S = 400.0
ANSWER_LIMIT_S = 60.0
MAX_LINE = 2**26
"""Of a report: ten minutes of requests."""


@dataclass(frozen=True)
class Attacked:
    """A scorer under attack, and the keys to it."""

    url: str
    victim_key_file: Path
    attacker_key_file: Path | None
    """None: attackers have no key."""
    max_body_bytes: int
    pid: int | None = None
    """None where it runs elsewhere: its memory is then what /metrics says, if `admin_key_file` may see it."""
    admin_key_file: Path | None = None
    addresses: tuple[str, ...] = ()
    """Attackers come from these; none: from wherever they are."""


@dataclass(frozen=True)
class VictimSettings:
    """How much the victim asks."""

    num_connections: int = 6
    period_s: float = 0.1
    num_prompts: int = 8
    num_requests: int = 250
    """Different ones: more than the engine's cache holds."""


class Talking:
    """A program that answers lines with lines."""

    def __init__(self, process: asyncio.subprocess.Process):
        self._process = process

    def tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())

    async def line(self, limit_s: float = ANSWER_LIMIT_S) -> str:
        """The next one. Raises RuntimeError if the program has ended."""
        assert self._process.stdout is not None
        async with asyncio.timeout(limit_s):
            line = await self._process.stdout.readline()
        if not line:
            raise RuntimeError("the program ended before it answered")
        return line.decode().strip()


class Victim(Talking):
    """`victim.py`."""

    def enter(self, phase: str) -> None:
        """What it asks from now on belongs to this phase."""
        self.tell(phase)

    async def report(self) -> dict[str, Any]:
        """What became of every phase's requests (`victim.Phase`), once they have ended."""
        self.tell("report")
        return dict(json.loads(await self.line()))


class Attackers(Talking):
    """`attackers.py`."""

    async def begin(self, names: Sequence[str], sizes: Mapping[str, int] | None = None) -> None:
        """Returns once all these attacks are under way.

        `sizes`: how many attackers, where an attack is not to have its own number.
        """
        self.tell(json.dumps({"names": list(names), "sizes": dict(sizes or {})}))
        await self.line()

    async def end(self) -> dict[str, dict[str, int]]:
        """What each attack did: connections, bytes, answers by status."""
        self.tell("null")
        return dict(json.loads(await self.line()))


@contextlib.asynccontextmanager
async def scorer(
    folder: Path, arguments: Sequence[str], *, max_body_mb: int, num_descriptors: int, num_addresses: int
) -> AsyncIterator[Attacked]:
    """`icm-server serve` with two keys, and a small number of descriptors."""
    keys, ready = folder / "keys.yaml", folder / "ready.json"
    victim, attacker = folder / "victim.key", folder / "attacker.key"
    for name, file in (("victim", victim), (NAME, attacker)):
        file.write_text(add_key(keys, name) + "\n")
    serve = [sys.executable, "-m", "icm_server.cli.app", "serve", "--port", "0", "--exit-with-parent"]
    serve += ["--keys-file", str(keys), "--ready-file", str(ready), "--max-body-mb", str(max_body_mb), *arguments]
    limited = ["sh", "-c", f'ulimit -n {num_descriptors} && exec "$@"', "sh"]
    async with running([*limited, *serve], log=folder / "scorer.log") as process:
        yield Attacked(
            url=await _url(process, ready),
            victim_key_file=victim,
            attacker_key_file=attacker,
            max_body_bytes=max_body_mb * 2**20,
            pid=process.pid,
            addresses=tuple(f"127.0.0.{2 + number}" for number in range(num_addresses)),
        )


@contextlib.asynccontextmanager
async def sink(folder: Path) -> AsyncIterator[str]:
    """The address of `sink.py`."""
    ready = folder / "sink.json"
    async with running([sys.executable, "-m", "tests.attack.sink", str(ready)]) as process:
        yield await _url(process, ready)


@contextlib.asynccontextmanager
async def victim(attacked: Attacked, settings: VictimSettings) -> AsyncIterator[Victim]:
    """One who asks already."""
    message = json.dumps({"url": attacked.url, "key_file": str(attacked.victim_key_file), **asdict(settings)})
    async with running([sys.executable, "-m", "tests.attack.victim", message]) as process:
        its = Victim(process)
        await its.line(START_LIMIT_S)
        yield its


@contextlib.asynccontextmanager
async def attackers(attacked: Attacked, url: str | None = None) -> AsyncIterator[Attackers]:
    """Who is ready to attack. `url`: what is attacked instead, for comparison."""
    place = urlsplit(url or attacked.url)
    message = {
        "host": place.hostname,
        "port": place.port or 80,
        "key_file": str(attacked.attacker_key_file) if attacked.attacker_key_file else None,
        "max_body_bytes": attacked.max_body_bytes,
        "addresses": attacked.addresses,
    }
    async with running([sys.executable, "-m", "tests.attack.attackers", json.dumps(message)]) as process:
        its = Attackers(process)
        await its.line()
        yield its


@contextlib.asynccontextmanager
async def running(command: Sequence[str], log: Path | None = None) -> AsyncIterator[asyncio.subprocess.Process]:
    """A program, ended after its use; what it complained about is shown if this ends badly."""
    with tempfile.TemporaryFile() if log is None else log.open("w+b") as complaints:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=pipe,
            stdout=pipe if log is None else complaints,
            stderr=complaints,
            limit=MAX_LINE,
        )
        try:
            yield process
        except Exception:
            complaints.seek(0)
            print(complaints.read()[-3000:].decode(errors="replace"), file=sys.stderr)
            raise
        finally:
            if process.returncode is None:
                process.terminate()
                try:
                    await asyncio.wait_for(process.wait(), 15)
                except TimeoutError:
                    process.kill()
                    await process.wait()


async def _url(process: asyncio.subprocess.Process, ready: Path) -> str:
    async with asyncio.timeout(START_LIMIT_S):
        while not ready.exists() or not (text := ready.read_text()):
            if process.returncode is not None:
                raise RuntimeError(f"the program ended with {process.returncode} before it was ready")
            await asyncio.sleep(0.05)
    return str(json.loads(text)["url"])
