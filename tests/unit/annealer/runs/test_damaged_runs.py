"""A run's files changed in every way: each command ends well, or with one line that says what is wrong."""

from __future__ import annotations

import contextlib
import json
import math
import random
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests import planted
from tests.icm_command import Ended, Icm, check_refused

from icm_annealer.cli import app as cli
from icm_annealer.runs.directory import COSTS, DEMO, EVALUATION, EXAMPLES, JOURNAL, LABELS, METRICS, RESCORE

pytestmark = pytest.mark.slow

FILES = [JOURNAL, LABELS, EXAMPLES, METRICS, DEMO, EVALUATION, COSTS, RESCORE]
COMMANDS = ["runs", "report", "reports", "export", "cleanlab", "eval", "resume"]
DEEP: list[Any] = []
for _ in range(300):
    DEEP = [DEEP]
ODD: list[Any] = [
    None, True, -1, 0, 7, 10**30, 10**400, 50.0, -0.5, 1e308, -1e308, math.nan, math.inf, -math.inf, "", "x", "\ud800",
    "all", [], [1], {}, {"a": 1}, [[math.nan]], [math.nan] * 24, DEEP,
]  # fmt: skip
SETTINGS = {"search": "blocks", "seed": 0, "alpha": 50.0, "model": "base"}
FORMS = ["blocks", "pairs", "demo"]


def begun(made: Path, form: str) -> list[object]:
    """The command that made a run of this form, and makes it again with --resume."""
    task = made / form / "data" / "task.yaml"
    few = ["--chains", 1, "--passes", 2, "--first", 12]
    return ["run", "--task", task, *(few if form == "blocks" else ["--search", "zero_shot", "--first", 12])]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, url: str) -> Path:
    """A folder with runs of several forms, each with all files that a run can have."""
    folder = tmp_path_factory.mktemp("made")
    for form in FORMS:
        task = planted.TASK + ("group: pair\nleave_out: group\n" if form == "pairs" else "")
        file = planted.write_task(folder / form / "data", 40, task=task)
        run = folder / form / "run"
        commands: list[list[object]] = [
            [*begun(folder, form), "--scorer", url, "--out", run],
            ["eval", run, "--task", file, "--data", file.with_name("data.jsonl"), "--scorer", url, "--seeds", 2],
        ]
        if form == "demo":
            commands = [
                [
                    "demo",
                    "--task",
                    file,
                    "--examples",
                    12,
                    "--test-size",
                    8,
                    "--seeds",
                    2,
                    "--scorer",
                    url,
                    "--out",
                    run,
                ]
            ]
        for command in commands:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(sys, "argv", ["icm", *map(str, command)])
                with contextlib.suppress(SystemExit):
                    cli.main()
    return folder


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value, from outside to inside."""
    yield place
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in inner:
        yield from places(child, (*place, key))


def changed(value: Any, rng: random.Random) -> Any:
    """One thing in the value is another, is gone, or stands there twice."""
    found = list(places(value))
    depth = rng.randrange(1 + max(map(len, found)))  # so that what stands far outside is changed as often
    place = rng.choice([one for one in found if len(one) >= depth])[:depth]
    if not place:
        return rng.choice(ODD)
    parent = value
    for key in place[:-1]:
        parent = parent[key]
    kind = rng.randrange(4)
    if kind == 0:
        del parent[place[-1]]
    elif kind == 1 and isinstance(parent, list):
        parent.insert(place[-1], parent[place[-1]])
    else:
        parent[place[-1]] = rng.choice(ODD)
    return value


def damage(path: Path, rng: random.Random) -> None:
    content = path.read_bytes()
    kind = rng.randrange(8)
    if kind == 0:
        content = content[: rng.randrange(len(content))]
    elif kind == 1:
        start = rng.randrange(len(content))
        content = content[:start] + rng.choice([b"\xff", b"\0", b"\n", b"NaN", b"[" * 5000, b"{"]) + content[start:]
    elif path.suffix == ".json":
        content = json.dumps(changed(json.loads(content), rng)).encode()
    else:
        lines = content.splitlines()
        number = rng.randrange(len(lines))
        if kind == 2:
            del lines[number]
        elif kind == 3:
            lines.insert(rng.randrange(len(lines)), lines[number])
        else:
            lines[number] = json.dumps(changed(json.loads(lines[number]), rng)).encode()
        content = b"".join(line + b"\n" for line in lines)
    path.write_bytes(content)


def check_reported(ended: Ended) -> None:
    """Done, or refused in one line."""
    assert "Traceback" not in ended.err + ended.out
    if ended.code:
        check_refused(ended, ended.code)
        assert ended.code in (1, 2)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_whatever_is_damaged_is_reported_or_does_not_matter(
    icm: Icm, made: Path, url: str, tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    rng = random.Random(seed)
    form = rng.choice(FORMS)
    run = Path(shutil.copytree(made / form / "run", tmp_path_factory.mktemp("damaged") / "run"))
    damaged = rng.choice([path for path in sorted(run.rglob("*")) if path.name in FILES])
    damage(damaged, rng)
    command = rng.choice(COMMANDS if form != "demo" else ["runs", "report", "reports"])
    data = made / form / "data" / "data.jsonl"
    commands: dict[str, Callable[[], list[object]]] = {
        "runs": lambda: ["runs", run.parent],
        "report": lambda: ["report", run, "--out", run.parent / "page.html"],
        "reports": lambda: ["report", run, made / form / "run", "--out", run.parent / "page.html"],
        "export": lambda: ["export", run, "--format", "csv"],
        "cleanlab": lambda: ["export", run, "--format", "cleanlab"],
        "eval": lambda: ["eval", run, "--task", data.with_name("task.yaml"), "--data", data, "--scorer", url],
        "resume": lambda: [*begun(made, form), "--scorer", url, "--out", run, "--resume"],
    }
    ended = icm(*commands[command]())
    check_reported(ended)
    if command == "resume" and ended.code == 0 and damaged.name != LABELS:
        assert "NaN" not in (run / LABELS).read_text()
        assert (run / LABELS).read_text() == (made / form / "run" / LABELS).read_text()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"ids": ["row-0"]}, "line 2: request.labels: 12 of them for 1 example"),
        ({"ids": [1, 2]}, "line 1: ids.0: Input should be a valid string"),
        ({"model": "fake"}, "line 1: model: "),
        (
            {"settings": dict(SETTINGS, measure="most")},
            "line 1: settings.measure: ",
        ),
    ],
)
def test_a_first_line_that_does_not_fit_the_others(
    icm: Icm, made: Path, tmp_path: Path, change: dict[str, Any], says: str
) -> None:
    run = Path(shutil.copytree(made / "blocks" / "run", tmp_path / "run"))
    (run / LABELS).unlink()  # so that the end, which does not fit either, does not count
    first, second, *_ = (run / JOURNAL).read_text().splitlines()
    lines = [json.dumps(json.loads(first) | change), second, second]
    (run / JOURNAL).write_text("\n".join(lines) + "\n")
    ended = icm("report", run)
    check_refused(ended, 2, str(run / JOURNAL), says.replace("line 2", "last line"))
    assert "unreadable" in icm("runs", run.parent).out


def test_damaged_costs_are_reported_before_anything_is_done(icm: Icm, made: Path, url: str, tmp_path: Path) -> None:
    run = Path(shutil.copytree(made / "pairs" / "run", tmp_path / "run"))
    cost = json.loads((run / COSTS).read_text().splitlines()[0])
    (run / COSTS).write_text(json.dumps(cost) + "\n" + json.dumps(cost | {"computed_tokens": -(10**30)}) + "\n")
    (run / LABELS).unlink()
    command = [*begun(made, "pairs"), "--scorer", url, "--out", run, "--resume"]
    check_refused(icm(*command), 2, f"{run / COSTS}, line 2: computed_tokens: ", "remove the line")
    assert not (run / LABELS).exists()
