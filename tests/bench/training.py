"""What labels that were found are worth to a training: real runs and trainings on SmolLM2, with the commands of a user.

    icm-server serve --port 8791 --allow-no-keys &
    python -m tests.bench.training classifiers --task living --seeds 401-405 --scorer http://127.0.0.1:8791 --out FOLDER

A command's answer is kept in FOLDER, and a command that has answered is not given again, so that a measurement that was
stopped goes on with the same line. Gold labels are in the data only for the models that learn from them and for the
figures.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from icm_annealer.console.terminal import Terminal
from icm_annealer.data.task import LoadedTask, load_task
from icm_trainer.relabel.page import right_labels

Figures = dict[str, float]
Way = TypeVar("Way")

CORE, FEW, REWARDED = 128, 64, 48
"""Examples that a run labels: for a classifier, where few are to label many, and for a reward model."""
WRONG = 0.35
"""The share of people's labels that are wrong: those of the longest texts, so their mistakes follow a rule."""
PEOPLE = "people"
SOURCES = {"ICM": (), "gold": ("--from-gold",), "people": ("--field", PEOPLE)}
MODES = {"shots": (), "neighbours": ("--mode", "neighbours", "--reads", "1.03"), "batches": ("--mode", "batches")}


class Bench(NamedTuple):
    """One task and seed, in a folder of its own."""

    loaded: LoadedTask
    seed: int
    scorer: str
    only: frozenset[str]
    """The ways that are compared; all if it is empty."""
    folder: Path

    @property
    def data(self) -> Path:
        return self.folder / "rows.jsonl"

    def asked(self, ways: Mapping[str, Way]) -> list[tuple[str, Way]]:
        return [(name, way) for name, way in ways.items() if not self.only or name in self.only]

    def make_data(self) -> None:
        """All rows of the task, in an order by the seed, with people's labels."""
        self.folder.mkdir(parents=True, exist_ok=True)
        task = self.loaded.task
        rows = _rows(Path(str(self.loaded.data_path)))
        random.Random(self.seed).shuffle(rows)
        longest = sorted(rows, key=lambda row: len(task.render(row)), reverse=True)
        wrong = {row[task.id] for row in longest[: round(WRONG * len(rows))]}
        for row in rows:
            number = task.label_names.index(row[str(task.gold)]) + (row[task.id] in wrong)
            row[PEOPLE] = task.label_names[number % len(task.label_names)]
        _write(self.data, rows)

    def gold(self) -> dict[str, str]:
        """id -> label."""
        return {row[self.loaded.task.id]: row[str(self.loaded.task.gold)] for row in _rows(self.data)}

    def answer(self, name: str, *arguments: str) -> dict[str, Any]:
        """Of a command with --json, with the seconds that it took as `spent`; CPU seconds are those of this machine's
        processes, without a scorer's."""
        kept = self.folder / f"{name}.answer.json"
        if kept.exists():
            return dict(json.loads(kept.read_text()))
        Terminal(stderr=True).say(f"{self.folder.name}: icm {' '.join(arguments)}")
        started, cpu = time.perf_counter(), _cpu_seconds()
        command = [sys.executable, "-m", "icm_annealer.cli", *arguments, "--json", "--quiet"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=self.folder)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)}: ended with {done.returncode}")
        spent = {"seconds": time.perf_counter() - started, "cpu_seconds": _cpu_seconds() - cpu}
        answer = json.loads(done.stdout) | {"spent": spent}
        kept.write_text(json.dumps(answer))
        return dict(answer)

    def labelled(self, num: int, *options: str, name: str = "run") -> tuple[Path, dict[str, Any]]:
        """The run that labels the first `num` rows (0: all), and its answer."""
        folder, first = self.folder / f"{name}-{num}", ("--first", str(num)) if num else ()
        given = ("--task", self.loaded.task.name, "--data", "rows.jsonl", *first, "--seed", str(self.seed))
        where = ("--scorer", self.scorer, "--out", folder.name, "--overwrite")
        return folder, self.answer(folder.name, "run", *given, *where, *options)

    def first(self, num: int) -> tuple[str, ...]:
        """Options for the first `num` rows, of which a training learns a field."""
        return ("--task", self.loaded.task.name, "--data", self.data.name, "--first", str(num))

    def right(self, labels: dict[str, str]) -> float:
        """The share of labels (id -> label) that are gold's."""
        gold = self.gold()
        return statistics.fmean(gold[one] == label for one, label in labels.items())


def classifiers(bench: Bench) -> Iterator[tuple[str, Figures]]:
    """Models tuned on ICM's, gold and people's labels of the same rows, on rows that were not labelled."""
    run, found = bench.labelled(CORE)
    yield "labels", {"right": bench.right(_labels(run / "labels.jsonl")), "tokens": found["computed_tokens"]}
    for source, options in bench.asked(SOURCES):
        model = f"model-{source}"
        rows = bench.first(CORE) if options else (run.name,)
        seeded = ("--seed", str(bench.seed))
        made = bench.answer(model, "train", "sft", *rows, *options, *seeded, "--threads", "1", "--out", model)
        test = ("--task", bench.loaded.task.name, "--data", "rows.jsonl", "--scorer", bench.scorer, *seeded)
        figures = bench.answer(f"eval-{source}", "eval", "--model", model, *test)["figures"]
        yield (
            source,
            {
                "tuned": figures["tuned"]["raw"]["accuracy"]["value"],
                "as shots": figures["many_shot"]["calibrated"]["accuracy"]["value"],
                "zero-shot": figures["zero_shot"]["calibrated"]["accuracy"]["value"],
                "seconds": made["spent"]["seconds"],
                "CPU seconds": made["spent"]["cpu_seconds"],
            },
        )


def everything(bench: Bench) -> Iterator[tuple[str, Figures]]:
    """Labels of all other rows: by a model tuned on a few, behind these as shots, and by a search over all rows."""
    run, found = bench.labelled(FEW)
    yield "labels", {"right": bench.right(_labels(run / "labels.jsonl")), "tokens": found["computed_tokens"]}
    bench.answer("tuned", "train", "sft", run.name, "--seed", str(bench.seed), "--threads", "1", "--out", "tuned")
    others = _others(bench, FEW)
    for way, by in bench.asked({"tuned": ("--by", "tuned", "--check", "0"), "shots": ("--scorer", bench.scorer)}):
        out = f"by-{way}.jsonl"
        given = (run.name, "--data", others.name, "--out", out, "--overwrite")
        done = bench.answer(f"by-{way}", "extend", *given, *by)
        labels = _labels(bench.folder / out)
        yield way, {"right": bench.right(labels), "seconds": done["spent"]["seconds"]}
    few = _labels(run / "labels.jsonl")
    for way, num in bench.asked({"search": 0}):
        all_rows, found = bench.labelled(num)
        labels = {one: label for one, label in _labels(all_rows / "labels.jsonl").items() if one not in few}
        spent = {"seconds": found["spent"]["seconds"], "tokens": found["computed_tokens"]}
        yield way, {"right": bench.right(labels), **spent}


def rounds(bench: Bench) -> Iterator[tuple[str, Figures]]:
    """Rounds by folds, from ICM's labels and from those of calibrated zero-shot."""
    for start, options in bench.asked({"ICM": (), "zero-shot": ("--search", "zero_shot")}):
        run, _ = bench.labelled(CORE, *options, name="run" if not options else "zero-shot")
        out = f"rounds-{start}"
        seeded = ("--seed", str(bench.seed), "--threads", "1")
        done = bench.answer(out, "train", "relabel", run.name, *seeded, "--out", out)
        right = right_labels(bench.folder / out, bench.gold())
        figures = {f"round {number}": one.value for number, one in enumerate(right.by_round, 1) if one is not None}
        start_right = bench.right(_labels(run / "labels.jsonl"))
        end_right = bench.right(_labels(bench.folder / out / "labels.jsonl"))
        yield start, {"start": start_right, **figures, "result": end_right, "seconds": done["spent"]["seconds"]}


def rewards(bench: Bench) -> Iterator[tuple[str, Figures]]:
    """Reward models by ICM's, gold and people's labels, and by two stages, on pairs of rows that were not labelled."""
    run, _ = bench.labelled(REWARDED)
    yield "labels", {"right": bench.right(_labels(run / "labels.jsonl"))}
    for source, options in bench.asked(
        {**SOURCES, "two stages": ("--two-stage", str(REWARDED), "--data", "rows.jsonl")}
    ):
        model = f"reward-{source.replace(' ', '-')}"
        rows = bench.first(REWARDED) if source in ("gold", "people") else (run.name,)
        given = (*rows, *options, "--seed", str(bench.seed), "--threads", "1", "--out", model)
        made = bench.answer(model, "train", "rm", *given)
        test = bench.folder / "test.jsonl"
        _write(test, _rows(bench.data)[2 * REWARDED :])
        figures = bench.answer(f"eval-{model}", "train", "eval-rm", model, "--test", test.name)
        yield source, {**_reward_figures(figures), "CPU seconds": made["spent"]["cpu_seconds"]}


def extensions(bench: Bench) -> Iterator[tuple[str, Figures]]:
    """All other rows by each mode of `icm extend`."""
    run, found = bench.labelled(CORE)
    yield "core", {"right": bench.right(_labels(run / "labels.jsonl")), "tokens a row": found["computed_tokens"] / CORE}
    others = _others(bench, CORE)
    num = len(_rows(others))
    for mode, options in bench.asked(MODES):
        out = f"{mode}.jsonl"
        given = (run.name, "--data", others.name, "--out", out, "--overwrite", "--scorer", bench.scorer)
        done = bench.answer(mode, "extend", *given, *options)
        labels = _labels(bench.folder / out)
        spent = {"tokens a row": done["computed_tokens"] / num, "seconds": done["spent"]["seconds"]}
        yield mode, {"right": bench.right(labels), **spent}


MEASURES: dict[str, Callable[[Bench], Iterator[tuple[str, Figures]]]] = {
    one.__name__: one for one in (classifiers, everything, rounds, rewards, extensions)
}


def _others(bench: Bench, num: int) -> Path:
    """The rows after the first `num`."""
    path = bench.folder / f"after-{num}.jsonl"
    _write(path, _rows(bench.data)[num:])
    return path


def _labels(path: Path) -> dict[str, str]:
    """id -> label."""
    return {row["id"]: row["label"] for row in _rows(path)}


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def _write(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _reward_figures(answer: dict[str, Any]) -> Figures:
    return {key: answer["figures"]["tuned"][key]["value"] for key in ("accuracy", "ece", "brier")}


def _cpu_seconds() -> float:
    spent = os.times()
    return spent.children_user + spent.children_system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measure", choices=MEASURES)
    parser.add_argument("--task", required=True)
    parser.add_argument("--seeds", default="401-405", help="FIRST-LAST")
    parser.add_argument("--scorer", required=True)
    parser.add_argument("--only", default="", help="the ways that are compared, parted by commas; all if not given")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    first, last = (int(text) for text in given.seeds.split("-"))
    only = frozenset(filter(None, given.only.split(",")))
    seen: dict[str, dict[str, list[float]]] = {}
    for seed in range(first, last + 1):
        folder = given.out.resolve() / f"{given.task}-{seed}"
        bench = Bench(load_task(given.task), seed, given.scorer, only, folder)
        bench.make_data()
        for name, figures in MEASURES[given.measure](bench):
            for key, value in figures.items():
                seen.setdefault(name, {}).setdefault(key, []).append(value)
    for name, columns in seen.items():
        for key, values in columns.items():
            spread = f"{min(values):.3f}-{max(values):.3f}, {len(values)}"
            each = " ".join(f"{value:.3f}" for value in values)
            Terminal().say(f"{given.task:8} {name:18} {key:12} {statistics.median(values):.3f} ({spread})   {each}")


if __name__ == "__main__":
    main()
