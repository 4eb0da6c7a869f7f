"""`icm baselines` from end to end, against a scorer program with the fake engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests import planted
from tests.icm_command import Ended, Icm, check_refused

from icm_annealer.benchmarks.baselines.methods import METHODS, Method

PAIRED = planted.TASK + "group: pair\nleave_out: group\nrules: [{kind: mirrored}]\n"
SEARCHED = [name for name, method in METHODS.items() if method.search]
TRIED = [name for name in METHODS if name not in ("official", "known_shots") and not name.endswith("_raw")]
"""The others ask one label at a time for long, differ in nothing that is looked at here, or need known labels."""


def data(folder: Path, num: int, task: str = planted.TASK, flip: bool = False) -> Path:
    """Planted examples, of which people labelled two of three, one of four wrongly; with `flip` gold turned round."""
    task_file = planted.write_task(folder, num, task=task)
    rows = planted.rows(num)
    for number, row in enumerate(rows):
        other = "cool" if row["label"] == "hot" else "hot"
        row["person"] = None if number % 3 == 0 else other if number % 4 == 0 else row["label"]
        row["label"] = other if flip else row["label"]
    planted.write_rows(folder / "data.jsonl", rows)
    return task_file


def compare(icm: Icm, url: str, task: Path, out: Path, *options: object) -> Ended:
    return icm("baselines", "--scorer", url, "--task", task, "--out", out, "--examples", 8, "--test-size", 20, *options)


def saved(out: Path) -> dict[str, Any]:
    figures: dict[str, Any] = json.loads((out / "baselines.json").read_text())
    return figures


def by_method(out: Path, seed: int) -> dict[str, dict[str, Any]]:
    return {row["method"]: row for row in saved(out)["rows"] if row["seed"] == seed}


@pytest.mark.slow
def test_the_whole_table(icm: Icm, tmp_path: Path, url: str) -> None:
    task, out, prefix = data(tmp_path / "data", 60, PAIRED), tmp_path / "out", tmp_path / "prefix.txt"
    prefix.write_text("Words: hail frost\nKind: cool\n\n\n")
    tried = [name for name in TRIED if name != "gibbs"]  # hundreds of requests
    options = ("--seeds", 2, "--methods", ",".join(tried), "--human", "person", "--prefix-file", prefix)
    ended = compare(icm, url, task, out, *options, "--figures", tmp_path / "figures")
    assert ended.code == 0, ended
    for seed in (0, 1):
        rows = by_method(out, seed)
        assert list(rows) == sorted(tried, key=lambda name: name != "icm")
        for name, row in rows.items():
            assert 0 <= row["label_accuracy"]["value"] <= 1
            assert len(row["labels"].split()) == 8
            assert ("weighed" in row) == ("-1" not in row["labels"].split())
            assert set(row["figures"]["raw"]) == {"accuracy", "balanced_accuracy", "auroc", "ece", "brier"}
            right = [int(one) for one in row["right"]["calibrated"].split()]
            assert row["figures"]["calibrated"]["accuracy"]["value"] == pytest.approx(sum(right) / 20)
            assert (row["tokens"] > 0) == (name in SEARCHED)
            if METHODS[name].is_stopped:
                assert row["budget"] == rows["icm"]["tokens"]
        assert rows["gold"]["label_accuracy"]["value"] == 1
        assert rows["noise"]["label_accuracy"]["value"] == rows["icm"]["label_accuracy"]["value"]
        assert rows["human"]["labels"].split().count("-1") > 0
        assert rows["human"]["label_accuracy"]["value"] < 1
        # A prefix changes what is said of the same examples, and costs its tokens.
        assert rows["zero_shot_prefix"]["figures"] != rows["zero_shot"]["figures"]
        assert rows["zero_shot_prefix"]["tokens"] > rows["zero_shot"]["tokens"]
    table = saved(out)["table"]
    assert table["seeds"] == [0, 1]
    assert list(table["methods"]) == tried
    assert set(table["methods"]["icm"]["gap_recovered"]) == {"raw", "calibrated"}
    assert table["methods"]["gold"]["gap_recovered"] == {}
    assert table["methods"]["gold"]["weighed"]["verdicts"] == {"none": 2}
    assert table["methods"]["human"]["weighed"] is None
    page = (out / "baselines.html").read_text()
    assert page.lstrip().startswith("<!doctype html")
    assert "http" not in page.replace("http://www.w3.org", "")  # self-contained: nothing is fetched
    for method in (METHODS[name] for name in tried):
        assert method.title in ended.out
        assert method.title in page
    assert page.count("<svg") == 2
    names = {f"{plot}.{form}" for plot in ("test-accuracy", "four-methods") for form in ("pdf", "png", "svg")}
    assert {path.name for path in (tmp_path / "figures").iterdir()} == names
    assert "test-accuracy, four-methods; each as pdf, png, svg" in ended.out


@pytest.mark.slow
def test_the_demos_figures_are_the_same(icm: Icm, tmp_path: Path, url: str) -> None:
    task, out = data(tmp_path / "data", 60), tmp_path / "out"
    methods = "zero_shot,random_few_shot,icm,gold"
    assert compare(icm, url, task, out, "--seeds", 1, "--seed", 3, "--methods", methods).code == 0
    command = ("demo", "--scorer", url, "--task", task, "--out", tmp_path / "demo", "--examples", 8, "--test-size", 20)
    assert icm(*command, "--seed", 3).code == 0
    demo = json.loads((tmp_path / "demo" / "demo.json").read_text())
    rows = by_method(out, 3)
    for method in ("zero_shot", "random_few_shot", "icm", "gold"):
        figures = rows[method]["figures"]
        assert figures["raw"]["accuracy"]["value"] == demo["test_accuracy"][method]["value"]
        assert figures["calibrated"]["accuracy"]["value"] == demo["test_accuracy"][f"{method}_calibrated"]["value"]
    assert rows["icm"]["label_accuracy"]["value"] == demo["label_accuracy"]["value"]
    seed = demo["seeds"][0]
    assert rows["zero_shot"]["label_accuracy"]["value"] == seed["zero_shot_label_accuracy"]


@pytest.mark.slow
def test_no_search_sees_gold(icm: Icm, tmp_path: Path, url: str) -> None:
    """With the gold labels turned round, all find the same labels and say the same of unseen examples."""
    methods = ",".join(name for name in TRIED if name in (*SEARCHED, "random_few_shot") and name != "zero_shot_prefix")
    found = []
    for flip in (False, True):
        task, out = data(tmp_path / f"data-{flip}", 60, PAIRED, flip), tmp_path / f"out-{flip}"
        assert compare(icm, url, task, out, "--seeds", 1, "--methods", methods).code == 0
        found.append(by_method(out, 0))
    assert list(found[0]) == sorted(methods.split(","), key=lambda name: name != "icm")
    for name, row in found[0].items():
        other = found[1][name]
        assert row["labels"] == other["labels"]
        assert row["tokens"] == other["tokens"]
        assert row["weighed"]["u"] == other["weighed"]["u"]
        shares = [one["figures"]["raw"]["accuracy"]["value"] for one in (row, other)]
        assert sum(shares) == pytest.approx(1)


@pytest.mark.slow
def test_it_is_gone_on_with(icm: Icm, tmp_path: Path, url: str) -> None:
    task, out = data(tmp_path / "data", 60), tmp_path / "out"
    methods = ("--methods", "zero_shot,icm,noise,growing,gold")
    assert compare(icm, url, task, out, "--seeds", 1, *methods).code == 0
    first = saved(out)["rows"]
    check_refused(compare(icm, url, task, out, "--seeds", 1, *methods), 2, "--resume")
    assert compare(icm, "http://127.0.0.1:9", task, out, "--wait", 0, "--overwrite").code == 1
    assert saved(out)["rows"] == first
    ended = compare(icm, url, task, out, "--seeds", 2, *methods, "--resume")
    assert ended.code == 0, ended
    rows = saved(out)["rows"]
    assert rows[:5] == first  # seconds and all
    assert len(rows) == 10
    assert "seed 0: icm" not in ended.err
    assert "seed 1: icm" in ended.err
    assert saved(out)["table"]["seeds"] == [0, 1]
    # What another setting shapes is done again: without a budget growing may go on, the others stay.
    ended = compare(icm, url, task, out, "--seeds", 2, *methods, "--to-the-end", "--resume")
    assert "seed 0: growing" in ended.err
    assert "seed 0: gold" not in ended.err
    assert compare(icm, url, task, out, "--seeds", 1, "--methods", "gold", "--overwrite").code == 0
    assert len(saved(out)["rows"]) == 1


@pytest.mark.slow
def test_methods_join_those_that_are_there(icm: Icm, tmp_path: Path, url: str) -> None:
    task, out = data(tmp_path / "data", 60), tmp_path / "out"
    first = ("--methods", "zero_shot,icm,noise,growing,human,gold", "--human", "person")
    assert compare(icm, url, task, out, "--seeds", 2, *first).code == 0
    before = saved(out)["rows"]
    ended = compare(icm, url, task, out, "--seeds", 2, "--methods", "growing,joint", "--resume")
    assert ended.code == 0, ended
    rows = saved(out)["rows"]
    assert rows[: len(before)] == before
    assert [row["method"] for row in rows[len(before) :]] == ["joint", "joint"]
    for seed in (0, 1):
        assert by_method(out, seed)["joint"]["budget"] == by_method(out, seed)["icm"]["tokens"]
    # All stand in the table but people's labels, whose field was not named again.
    assert list(saved(out)["table"]["methods"]) == ["zero_shot", "growing", "joint", "icm", "noise", "gold"]
    assert METHODS["noise"].title in ended.out
    assert METHODS["noise"].title in (out / "baselines.html").read_text()
    # Of three seeds there is only what is made now.
    assert compare(icm, url, task, out, "--seeds", 3, "--methods", "gold", "--resume").code == 0
    assert list(saved(out)["table"]["methods"]) == ["gold"]


def test_a_method_is_a_function_and_an_entry(
    icm: Icm, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy = Method("toy", "toy labels", labels=lambda given: 1 - given.case.gold, is_usual=False)
    monkeypatch.setitem(METHODS, "toy", toy)
    task, out = data(tmp_path / "data", 60), tmp_path / "out"
    ended = compare(icm, url, task, out, "--seeds", 1, "--methods", "toy,gold")
    assert ended.code == 0, ended
    rows = by_method(out, 0)
    assert rows["toy"]["label_accuracy"]["value"] == 0
    assert rows["toy"]["tokens"] == 0
    assert "toy labels" in ended.out
    assert "toy labels" in (out / "baselines.html").read_text()
    check_refused(compare(icm, url, task, out, "--methods", "toys"), 2, "choose of zero_shot, ", ", gold, toy")


def test_rows_of_other_test_orders_are_made_again(
    icm: Icm, tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, out = data(tmp_path / "data", 60), tmp_path / "out"
    assert compare(icm, url, task, out, "--seeds", 1, "--methods", "gold").code == 0
    monkeypatch.setattr("icm_annealer.benchmarks.case.NUM_ORDERS", 1)
    ended = compare(icm, url, task, out, "--seeds", 1, "--methods", "gold", "--resume")
    assert "seed 0: gold" in ended.err


def test_labels_of_one_kind_are_compared_with_three_classes(icm: Icm, tmp_path: Path, url: str) -> None:
    task = planted.TASK.replace('  cool: " cool"\n', '  cool: " cool"\n  other: " other"\n')
    out = tmp_path / "out"
    ended = compare(icm, url, data(tmp_path / "data", 60, task), out, "--seeds", 1, "--methods", "icm,noise,gold")
    assert ended.code == 0, ended
    (noise,) = [row for row in saved(out)["rows"] if row["method"] == "noise"]
    assert len(noise["label_rates"]) == 3


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--methods", "icm,blocks"], "no method 'blocks'"),
        (["--human", "words"], "is none of hot, cool"),
        (["--human", "label"], "gold field"),
        (["--human", "nobody"], "'nobody' gives no example a label"),
        (["--examples", "64"], "too few"),
        (["--prefix-file", "nowhere.txt"], "nowhere.txt"),
        (["--task", "poems"], "has no data of its own"),
    ],
)
def test_mistakes_are_reported_before_anything_is_measured(
    icm: Icm, tmp_path: Path, url: str, options: list[str], says: str
) -> None:
    task, out = data(tmp_path / "data", 60), tmp_path / "out"
    check_refused(compare(icm, url, task, out, "--seeds", 1, *options), 2, says)
    assert not (out / "baselines.json").exists()


def test_a_prefix_that_no_window_holds_is_reported(icm: Icm, tmp_path: Path, url: str) -> None:
    task, out, prefix = data(tmp_path / "data", 60), tmp_path / "out", tmp_path / "long.txt"
    prefix.write_text("word " * 9000)
    check_refused(compare(icm, url, task, out, "--prefix-file", prefix), 2, "9000 tokens", "window")
    prefix.write_bytes(b"\xff\xfe\xff")
    check_refused(compare(icm, url, task, out, "--prefix-file", prefix), 2, "UTF-8")
    prefix.write_text("\n \n")
    check_refused(compare(icm, url, task, out, "--prefix-file", prefix), 2, "empty")


@pytest.mark.slow
def test_known_labels_and_rates_are_given_to_every_method(icm: Icm, tmp_path: Path, url: str) -> None:
    task, out, known = data(tmp_path / "data", 60), tmp_path / "out", tmp_path / "known.csv"
    ids = [f"row-{number}" for number in range(5)]
    known.write_text("id,label\n" + "".join(f"{name},hot\n" for name in ids))
    given = ("--known", known, "--rates", "hot=0.75")
    methods = ("--methods", "zero_shot,known_shots,growing,gibbs,icm,gold")
    ended = compare(icm, url, task, out, "--seeds", 1, *given, *methods)
    assert ended.code == 0, ended
    rows, table = by_method(out, 0), saved(out)["table"]
    assert table["num_known"] == 5  # all known ones are among the eight
    assert table["stated_rates"] == {"hot": [0.75, 0.75]}
    for name in ("zero_shot", "known_shots", "growing", "icm"):
        assert rows[name]["labels"].split().count("0") == 6
        assert rows[name]["label_accuracy"]["value"] in [right / 3 for right in range(4)]
    assert rows["gibbs"]["labels"].split().count("0") >= 5
    text = " ".join(ended.out.split())
    assert "few-shot, known labels" in text
    assert "right: the share of right labels, without the 5 known ones" in text
    assert "labels occur in the test set at the rates stated or found (hot 0.75)" in text
    assert "found without the stated rates, which these searches cannot respect: Gibbs." in text
    # A mistake of the user is one line, before anything is measured.
    says = "by the known labels between 5 and 8 have it: correct the rate or the known labels"
    check_refused(compare(icm, url, task, tmp_path / "none", *given[:3], "hot=0.5", *methods), 2, says)
    # Rows are kept only for the same known labels and rates.
    again = ("--seeds", 1, "--methods", "growing", "--resume")
    assert "seed 0: growing" not in compare(icm, url, task, out, *given, *again).err
    assert "seed 0: growing" in compare(icm, url, task, out, *given[:3], "hot=0.7", *again).err
    known.write_text("id,label\nrow-0,hot\n")
    assert "seed 0: growing" in compare(icm, url, task, out, *given, *again).err
    check_refused(
        compare(icm, url, task, tmp_path / "none", "--methods", "known_shots"), 2, "the method known_shots needs known"
    )


@pytest.mark.slow
def test_known_labels_from_gold(icm: Icm, tmp_path: Path, url: str) -> None:
    task, out = data(tmp_path / "data", 60), tmp_path / "out"
    methods = ("--methods", "known_shots,growing,icm,gold")
    for num in (2, 4):
        ended = compare(icm, url, task, out, "--seeds", 1, "--known-from-gold", num, *methods, "--overwrite")
        assert ended.code == 0, ended
        assert saved(out)["table"]["num_known"] == num
        rows = by_method(out, 0)
        labels = zip(*(row["labels"].split() for row in rows.values()), strict=True)
        assert sum(len(set(of_one)) == 1 for of_one in labels) >= num  # all have those of gold
        shares = [row["label_accuracy"]["value"] for row in rows.values()]
        assert all(share * (8 - num) == pytest.approx(round(share * (8 - num))) for share in shares)
    check_refused(compare(icm, url, task, out, "--methods", "known_shots", "--overwrite"), 2, "needs known labels")
