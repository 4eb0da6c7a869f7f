"""Labels of a run, a file, gold and people; what none of them may be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests import planted
from tests.conftest import Serving
from tests.finished import finished

from icm_annealer.cli.app import app  # noqa: F401  (the commands, as a user has them)
from icm_annealer.data.rows import READ_AS_IT_IS
from icm_annealer.extending.chunks import Source
from icm_annealer.extending.core import Core
from icm_annealer.extending.extend import Progress, by_contexts
from icm_annealer.extending.jobs.job import ExtendJob
from icm_annealer.extending.settings import ExtendSettings
from icm_client.contract.errors import RequestError
from icm_trainer.sft.labelled import LabelSet
from icm_trainer.sft.sources import LabelOptions, ending_of, read_labels


@pytest.fixture
def task(tmp_path: Path) -> Path:
    return planted.write_task(tmp_path / "task", 24)


def pairs(labels: LabelSet) -> list[tuple[str, str]]:
    return [(row.example.id, row.label) for row in labels.rows]


async def test_of_a_run_its_own_gold_or_a_field(serving: Serving, task: Path, tmp_path: Path) -> None:
    async with serving() as scorer:
        labelling = await finished(scorer, tmp_path / "run", task, num=16)
    folder = str(tmp_path / "run")
    found = read_labels(LabelOptions(folder))
    assert len(found.rows) == 16
    names = found.task.label_names
    assert [row.label for row in found.rows] == [names[k] for k in labelling.run.labels]
    assert found.origin.run is not None
    assert found.origin.run.model == "fake"
    assert all(row.certainty and row.margin is not None for row in found.rows)
    gold = read_labels(LabelOptions(folder, str(task), str(task.parent / "data.jsonl"), from_gold=True))
    truth = {row["id"]: row["label"] for row in planted.rows(24)}
    assert pairs(gold) == [(row.example.id, truth[row.example.id]) for row in found.rows]
    with pytest.raises(RequestError, match="have no field"):
        read_labels(LabelOptions(folder, field="annotator"))
    median = sorted(row.certainty or 0.0 for row in found.rows)[8]
    certain = found.certain(median, None)
    assert (len(certain.rows), certain.num_left_out) == (8, 8)
    with pytest.raises(RequestError, match=r"--min-margin: these labels .* have no margin"):
        gold.certain(None, 1.0)
    other = planted.write_task(tmp_path / "other", task=planted.TASK.replace("Kind:", "Sort:"))
    with pytest.raises(RequestError, match=r"is not the task of .*: template differ"):
        read_labels(LabelOptions(folder, str(other)))


def test_of_a_file_by_id_or_by_text(task: Path, tmp_path: Path) -> None:
    rows = planted.rows(24)[:3]
    file = tmp_path / "labels.jsonl"
    planted.write_rows(file, [{"id": row["id"], "label": row["label"]} for row in rows] + [{"id": "x", "label": None}])
    by_id = read_labels(LabelOptions(str(file), str(task)))
    assert pairs(by_id) == [(row["id"], row["label"]) for row in rows]
    assert by_id.num_left_out == 1
    csv = tmp_path / "labels.csv"
    csv.write_text("text,label,certainty\n" + "".join(f'"{row.example.text}",{row.label},0.9\n' for row in by_id.rows))
    by_text = read_labels(LabelOptions(str(csv), str(task)))
    assert by_text.texts == by_id.texts
    assert [row.certainty for row in by_text.rows] == [0.9] * 3
    for bad, says in (
        ({"id": rows[0]["id"], "label": "tepid"}, "the label 'tepid' is none of hot, cool"),
        ({"id": "nobody", "label": "hot"}, "no row of the task's data has the id 'nobody'"),
        ({"text": "sun", "label": "hot"}, r"does not end with .*use --field label"),
        ({"label": "hot"}, "needs the fields label and text, or label and id"),
    ):
        planted.write_rows(file, [bad])
        with pytest.raises(RequestError, match=says):
            read_labels(LabelOptions(str(file), str(task)))
    assert ending_of("Word: {word}") == ""


async def test_of_an_extension_by_the_rows_that_it_labelled(serving: Serving, task: Path, tmp_path: Path) -> None:
    """Its rows have no ids, and the task's own data would have rows of the same numbers."""
    rows = [{"words": row["words"]} for row in planted.rows(150, 1)]
    data, out = tmp_path / "all.jsonl", tmp_path / "labels.jsonl"
    planted.write_rows(data, rows)
    async with serving() as scorer:
        await finished(scorer, tmp_path / "core", task)
        core, settings = Core.read(tmp_path / "core"), ExtendSettings(shots=8, sample=64)
        job = ExtendJob(core, Source(data, core.task, READ_AS_IT_IS), out, settings)
        job.prepare()
        silent = Progress(lambda text: None, lambda num: None, lambda num, usage: None)
        await job.run(await by_contexts(scorer, core, settings, "default"), None, silent)
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    planted.write_rows(out, lines[20:])
    found = read_labels(LabelOptions(str(out)))
    assert [row.example.text for row in found.rows] == [core.task.render(row) for row in rows[20:]]
    assert [row.label for row in found.rows] == [line["label"] for line in lines[20:]]
    planted.write_rows(tmp_path / "moved.jsonl", lines)
    with pytest.raises(RequestError, match=r"without the folder moved\.jsonl\.extension beside them"):
        read_labels(LabelOptions(str(tmp_path / "moved.jsonl"), str(task)))
    planted.write_rows(data, rows[::-1])
    with pytest.raises(RequestError, match=r"not the rows that .* labels, or they have changed"):
        read_labels(LabelOptions(str(out)))


def test_of_the_tasks_rows_gold_or_what_people_wrote(task: Path) -> None:
    data = task.parent / "data.jsonl"
    rows = [json.loads(line) | {"who": "hot" if number else None} for number, line in enumerate(data.open())]
    planted.write_rows(data, rows)
    gold = read_labels(LabelOptions(task=str(task), from_gold=True))
    assert pairs(gold) == [(row["id"], row["label"]) for row in rows]
    people = read_labels(LabelOptions(str(data), str(task), field="who"))
    assert pairs(people) == [(row["id"], "hot") for row in rows[1:]]
    assert people.num_left_out == 1
    with pytest.raises(RequestError, match=r"all 23 labels are 'hot' \(1 rows were left out\)"):
        people.check()
    assert len(gold.first(5).rows) == 5
