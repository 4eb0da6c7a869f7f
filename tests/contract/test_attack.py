"""Every attack of `tests/attack` for a moment, and the worst together: nobody else loses anything by them.

How long others wait is measured by `make attack`, on a machine that does nothing else; here only whether the scorer
stops for them.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest
import pytest_asyncio
from tests.attack import programs
from tests.attack.endurance import endure
from tests.attack.measure import SHORT, SHORT_TOGETHER, Bounds, Seen, measure
from tests.attack.memory import Memory
from tests.attack.programs import FAKE_ENGINE, Attacked, Attackers, Victim, VictimSettings
from tests.attack.table import ATTACKS, TOGETHER

pytestmark = pytest.mark.slow

GENEROUS = Bounds(median=20.0, p95=float("inf"))
"""Eight times what `make attack` allows: a scorer that stops for others is above it, a machine that is busy is not."""


class Scene(NamedTuple):
    attacked: Attacked
    victim: Victim
    attackers: Attackers


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    """A scorer with few descriptors and places for requests, which has said nothing untoward at the end."""
    folder = tmp_path_factory.mktemp("attack")
    arguments = [*FAKE_ENGINE, "--limit", "max_requests=64"]
    async with (
        programs.scorer(folder, arguments, max_body_mb=16, num_descriptors=512, num_addresses=4) as attacked,
        programs.attackers(attacked) as attackers,
        programs.victim(attacked, VictimSettings()) as victim,
    ):
        yield Scene(attacked, victim, attackers)
    assert "Traceback" not in (folder / "scorer.log").read_text(errors="replace")


async def found(scene: Scene, names: list[str]) -> Seen:
    seconds = SHORT if len(names) == 1 else SHORT_TOGETHER
    memory = Memory(scene.attacked.pid, scene.attacked.url)
    return await measure(scene.victim, scene.attackers, memory, names, seconds)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("names", [[name] for name in ATTACKS] + [TOGETHER], ids=[*ATTACKS, "together"])
async def test_nobody_else_loses_anything(scene: Scene, names: list[str]) -> None:
    seen = await found(scene, names)
    assert seen.exceeded(GENEROUS) == [], seen.errors()
    assert all(seen.attackers[name]["connections"] for name in names)


@pytest.mark.asyncio(loop_scope="module")
async def test_slow_connections_cost_nobody_anything(scene: Scene) -> None:
    endured = await endure(scene.attacked, seconds=3.0, num_connections=300)
    assert not any(endured.bad.values()), (endured.bad, endured.seen.errors())


def phase(seconds: float, **bad: int) -> dict[str, object]:
    counts = {"answered": 9, "refused": 0, "lost": 0, "wrong": 0, "health_failed": 0}
    return {"seconds": [seconds] * 9, "health_s": [0.1] * 3, "errors": {}, **counts, **bad}


@pytest.mark.parametrize(
    ("names", "during", "memory", "words"),
    [
        (["polls"], phase(0.02), 2**20, []),
        (["polls"], phase(0.03), 2**20, ["median: 3.0 x"]),
        (["wrong_keys"], phase(0.02), 2**20, ["p95: 2.0 x"]),
        (["polls"], phase(0.01, refused=2, lost=1), 2**20, ["refused: 2", "lost: 1"]),
        (["polls"], phase(0.01, wrong=1, health_failed=1), 2**20, ["wrong: 1", "/healthz: 1 of 3"]),
        (["polls"], phase(0.01), 2**30, ["memory: 1,024 MB"]),
    ],
)
def test_what_is_out_of_bounds_is_reported(
    names: list[str], during: dict[str, object], memory: int, words: list[str]
) -> None:
    seen = Seen(names, {"before": phase(0.01), "during": during}, (2**20, memory, 2**20))
    assert seen.exceeded(Bounds()) == words


def test_others_scorers_are_not_attacked(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.attack", "--url", "http://192.0.2.1:1", "--victim-key-file", str(tmp_path)]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert answer.returncode == 2
    assert "--i-own-this-scorer" in answer.stderr
