"""Runs read back from their folders: what was searched, how far it came, and what must not be believed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import planted
from tests.finished import HEADER, PAIRS, finished, finished_run

from icm_annealer.data.examples import Example, digest, load_examples
from icm_annealer.data.label_columns import label_columns
from icm_annealer.data.task import Task
from icm_annealer.runs.directory import COSTS, EXAMPLES, JOURNAL, LABELS, METRICS, RunDir
from icm_annealer.runs.examples_file import read_examples, write_examples
from icm_annealer.runs.gold import read_again
from icm_annealer.runs.journal import Journal, JournalError, end_lines, is_being_written
from icm_annealer.runs.record import RunRecord
from icm_annealer.runs.schema.verdict import Verdict
from icm_client import RequestError, ScorerClient

TASK = Task(name="t", template="{a}", labels={"x": " x", "y": " y"})
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of eight examples, which no test changes."""
    return finished_run(tmp_path_factory.mktemp("made"))


@pytest.fixture
def copied(made: Path, tmp_path: Path) -> Path:
    """A copy of that run."""
    return Path(shutil.copytree(made, tmp_path / "run"))


async def test_a_finished_run_is_read_as_it_was(tmp_path: Path, scorer: ScorerClient) -> None:
    task_file = planted.write_task(tmp_path / "data", 12, task=PAIRS)
    found = await finished(scorer, tmp_path / "run", task_file)
    record = RunRecord.read(tmp_path / "run")
    assert record.name == "run"
    assert record.task.seen() == found.run.task.seen()
    assert record.task.gold is None  # a run does not know where gold stands
    assert record.examples() == list(found.run.examples)
    names = found.run.task.label_names
    assert [row.label for row in record.rows()] == [names[label] for label in found.run.labels]
    assert record.u == found.run.result.winner.u
    assert record.label_rates == found.metrics.label_rates
    assert record.computed_tokens == found.metrics.computed_tokens
    assert [alarm.code for alarm in record.alarms] == [alarm.code for alarm in found.alarms]
    assert record.state == ("warned" if any(alarm.level == "warning" for alarm in found.alarms) else "finished")
    assert record.verdict == found.run.verdict


@given(
    st.lists(st.tuples(st.text(min_size=1), st.dictionaries(st.text(), VALUES, max_size=4)), min_size=1, max_size=4),
)
def test_examples_come_back_as_they_were(tmp_path_factory: pytest.TempPathFactory, rows: list[Any]) -> None:
    folder = tmp_path_factory.mktemp("kept")
    examples = [
        Example(f"{number}", text, group, {**facts, "a": text})
        for number, (text, facts) in enumerate(rows)
        for group in [None if number % 2 else text]
    ]
    write_examples(RunDir(folder), examples, TASK)
    again = read_examples(folder / EXAMPLES, TASK)
    left_out = label_columns(examples, TASK)
    kept = [replace(e, fields={k: v for k, v in e.fields.items() if k not in left_out}) for e in examples]
    assert again == kept
    assert digest(again, ["a"]) == digest(examples, ["a"])


def test_gold_is_not_kept(made: Path) -> None:
    assert all(set(row["fields"]) == {"id", "words", "pair"} for row in lines(made / EXAMPLES))


def change(path: Path, number: int, **values: Any) -> None:
    rows = lines(path)
    rows[number].update(values)
    planted.write_rows(path, rows)


@pytest.mark.parametrize(
    ("name", "values", "says"),
    [
        (EXAMPLES, {"fields": {"words": "other", "id": "row-1"}}, "not the examples"),
        (EXAMPLES, {"fields": {"no": "words"}}, "line 3: not an example"),
        (EXAMPLES, {"fields": 7}, "line 3: not an example"),
        (EXAMPLES, {"id": "somebody"}, "not the examples"),
        (LABELS, {"label": "lukewarm"}, "line 3: the labels of this run are hot, cool"),
        (LABELS, {"probs": {"cool": 0.5, "hot": 0.5}}, "line 3: the labels"),
        (LABELS, {"probs": "high"}, "line 3: probs"),
        (LABELS, {"margin": None}, "line 3: margin"),
        (LABELS, {"margin": float("nan")}, "line 3: margin"),
        (LABELS, {"probs": {"hot": 50.0, "cool": 0.5}}, "line 3: probs"),
        (LABELS, {"probs": {"hot": 0.0, "cool": 0.0}}, "line 3: probs: do not sum to 1"),
        (LABELS, {"context_probs": {"hot": 0.0, "cool": 0.0}}, "line 3: context_probs: do not sum to 1"),
        (LABELS, {"context_probs": {"cool": 0.5, "hot": 0.5}}, "line 3: the labels"),
        (LABELS, {"id": "somebody"}, "rows were added, removed or moved"),
    ],
)
def test_files_that_were_changed_are_reported(copied: Path, name: str, values: dict[str, Any], says: str) -> None:
    change(copied / name, 2, **values)
    record = RunRecord.read(copied)
    with pytest.raises(RequestError) as raised:
        _ = record.examples() if name == EXAMPLES else record.rows()
    assert says in raised.value.message
    assert str(copied / name) in raised.value.message


def test_evaluation_is_calibrated_to_uneven_rates_that_were_found(copied: Path) -> None:
    record = RunRecord.read(copied)
    assert (record.rates, read_again(record).task.rates) == ({}, {})
    assert record.end is not None
    record = replace(record, last=record.end.model_copy(update={"verdict": "uneven"}))
    shares = {name: (share, share) for name, share in record.label_rates.items()}
    assert sum(share for share, _ in shares.values()) == pytest.approx(1.0)
    assert (record.rates, read_again(record).task.rates) == (shares, shares)
    stated = record.task.model_copy(update={"rates": {"hot": (0.1, 0.2)}})
    header = record.header.model_copy(update={"task": stated})
    assert replace(record, header=header).rates == {"hot": (0.1, 0.2)}


def test_a_corrected_label_counts_and_is_certain(copied: Path) -> None:
    before = RunRecord.read(copied).rows()
    other = {"hot": "cool", "cool": "hot"}[before[2].label]
    change(copied / LABELS, 2, label=other)
    after = RunRecord.read(copied).rows()
    assert after[2].label == other
    assert after[2].probs[other] < 0.5
    assert [row.is_changed for row in after] == [number == 2 for number in range(8)]
    assert [row.certainty for row in after] == [
        1.0 if number == 2 else row.probs[row.label] for number, row in enumerate(before)
    ]


async def test_a_run_from_before_examples_were_kept_takes_its_data(tmp_path: Path, scorer: ScorerClient) -> None:
    task_file = planted.write_task(tmp_path / "data", 8)
    found = await finished(scorer, tmp_path / "run", task_file, num=5)
    (tmp_path / "run" / EXAMPLES).unlink()
    record = RunRecord.read(tmp_path / "run")
    with pytest.raises(RequestError, match="--data"):
        record.examples()
    data = str(tmp_path / "data" / "data.jsonl")
    reference = read_again(record, str(task_file), data)
    assert reference.examples == list(found.run.examples)
    assert reference.data is not None
    assert len(reference.data.examples) == 8
    assert len(reference.data.gold) == 8
    assert read_again(record, None, data).examples[0].text == found.run.examples[0].text  # gold is a field like others


async def test_another_task_or_other_data_are_refused(tmp_path: Path, scorer: ScorerClient) -> None:
    task_file = planted.write_task(tmp_path / "data", 8)
    await finished(scorer, tmp_path / "run", task_file)
    record = RunRecord.read(tmp_path / "run")
    other = planted.write_task(tmp_path / "other", 8, task=planted.TASK.replace("Kind:", "Sort:"), seed=1)
    with pytest.raises(RequestError, match="template differ"):
        read_again(record, str(other))
    with pytest.raises(RequestError, match="not the examples"):
        read_again(record, str(task_file), str(tmp_path / "other" / "data.jsonl"))
    assert read_again(record, str(task_file)).data == load_examples(
        tmp_path / "data" / "data.jsonl", planted.load(task_file)[0].task
    )
    assert read_again(record).data is None  # not built in, nothing named


async def test_a_built_in_tasks_name_is_not_enough(tmp_path: Path, scorer: ScorerClient) -> None:
    task = planted.TASK.replace("planted", "living")
    await finished(scorer, tmp_path / "run", planted.write_task(tmp_path / "data", 8, task=task))
    assert read_again(RunRecord.read(tmp_path / "run")).task.gold is None


async def test_how_far_a_run_came(tmp_path: Path, scorer: ScorerClient) -> None:
    folder = tmp_path / "run"
    await finished(scorer, folder, planted.write_task(tmp_path / "data", 8))
    whole = (folder / JOURNAL).read_bytes().splitlines(keepends=True)
    (folder / LABELS).unlink()
    assert RunRecord.read(folder).state == "stopped"  # killed before the labels were written
    (folder / METRICS).unlink()
    (folder / JOURNAL).write_bytes(b"".join(whole[:3]) + whole[3][:20])  # and here in the middle of a line
    record = RunRecord.read(folder)
    assert record.state == "stopped"
    assert record.u == json.loads(whole[2])["u"]
    assert list(record.label_rates.values()) == json.loads(whole[2])["label_rates"]
    with pytest.raises(RequestError, match="icm resume"):
        record.rows()
    (folder / JOURNAL).write_bytes(whole[0])
    record = RunRecord.read(folder)
    assert (record.u, record.label_rates, record.alarms, record.verdict) == (None, {}, [], None)


async def test_alarms_whose_words_were_not_written_are_warnings(tmp_path: Path, scorer: ScorerClient) -> None:
    folder = tmp_path / "run"
    await finished(scorer, folder, planted.write_task(tmp_path / "data", 8))
    rows = lines(folder / JOURNAL)
    rows[-1]["alarms"] = ["uneven-labels"]
    planted.write_rows(folder / JOURNAL, rows)
    (folder / METRICS).unlink()
    assert RunRecord.read(folder).state == "warned"
    assert RunRecord.read(folder).alarms[0].code == "uneven-labels"
    assert RunRecord.read(folder).verdict == Verdict(rows[-1]["verdict"])  # it has its name


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no whole line"),
        (b'{"kind": "start"', "no whole line"),
        (b"{}\n", "settings: Field required"),
        (b"[]\n", "Input should be an object"),
        (b"\xff\xfe\n", "Invalid JSON"),
        (b'{"kind":"begin","format":1}\n', "kind: Input should be 'start'"),
        (b'{"kind":"start","format":0}\n', "format: 0 is not 1"),
        (b'{"kind":"start","format":1}\n', "settings"),
    ],
)
def test_broken_journals_are_reported(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / JOURNAL).write_bytes(content)
    with pytest.raises(RequestError) as raised:
        RunRecord.read(tmp_path)
    assert says in raised.value.message
    assert str(tmp_path / JOURNAL) in raised.value.message


def test_a_folder_without_a_run_names_the_runs_inside(tmp_path: Path) -> None:
    (tmp_path / "demo" / "seed-0").mkdir(parents=True)
    (tmp_path / "demo" / "seed-0" / JOURNAL).write_text("{}\n")
    with pytest.raises(RequestError, match="its folders seed-0 do"):
        RunRecord.read(tmp_path / "demo")
    with pytest.raises(RequestError, match="holds no run"):
        RunRecord.read(tmp_path / "nowhere")


async def test_costs_that_were_cut_count_as_far_as_they_go(tmp_path: Path, scorer: ScorerClient) -> None:
    found = await finished(scorer, tmp_path / "run", planted.write_task(tmp_path / "data", 8))
    with (tmp_path / "run" / COSTS).open("a") as file:
        file.write('{"pass": 99, "computed_to')
    assert RunRecord.read(tmp_path / "run").computed_tokens == found.metrics.computed_tokens


@given(st.lists(st.integers(1, 200_000), min_size=1, max_size=6), st.booleans())
def test_both_ends_are_those_of_the_whole(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], is_cut: bool
) -> None:
    path = tmp_path_factory.mktemp("journal") / JOURNAL
    whole = [json.dumps({"number": k, "filler": "é" * length}, ensure_ascii=False) for k, length in enumerate(lengths)]
    path.write_text("".join(line + "\n" for line in whole) + '{"number": 7, "fi' * is_cut, encoding="utf-8")
    assert end_lines(path) == (whole[0].encode(), whole[-1].encode())


def test_a_journal_is_being_written_as_long_as_its_process_lives(tmp_path: Path) -> None:
    path = tmp_path / JOURNAL
    path.write_bytes(b"")
    assert not is_being_written(path)
    journal = Journal.begin(path, HEADER)
    assert is_being_written(path)
    assert is_being_written(path)  # looking does not take the lock away
    journal.close()
    assert not is_being_written(path)
    program = (
        "import sys, pathlib; from icm_annealer.runs.journal import Journal, read_header;"
        "path = pathlib.Path(sys.argv[1]); j = Journal.resume(path, read_header(path));"
        "print('open', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        assert is_being_written(path)
        process.kill()
        process.wait()
        assert not is_being_written(path)


def test_ends_of_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="No such file"):
        end_lines(tmp_path / JOURNAL)
