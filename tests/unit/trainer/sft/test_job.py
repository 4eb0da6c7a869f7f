"""A whole fine-tuning: what it writes, that others load it, and that a killed one ends with the same weights."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.finished import finished_run
from tests.labelled import planted_labels
from tests.trained import Killing, job, run

from icm_annealer import extend
from icm_annealer.data.rows import READ_AS_IT_IS
from icm_annealer.extending.chunks import Source
from icm_annealer.extending.core import Core
from icm_annealer.extending.extend import Extension, Progress
from icm_annealer.extending.settings import ExtendSettings
from icm_annealer.runs.directory import RunDir
from icm_annealer.searches.settings import Settings
from icm_client.contract.errors import RequestError
from icm_trainer.models.base_model import BaseModel, load_model
from icm_trainer.models.label_scores import label_logprobs
from icm_trainer.models.label_tokens import prompts_of
from icm_trainer.sft.classifier import TunedClassifier
from icm_trainer.sft.judged import tuned_rows
from icm_trainer.sft.record import SftRecord, UsedLabel, read_record, read_used
from icm_trainer.sft.saving import merge, prepare_folder

LABELS = planted_labels(56, wrong=0.2)


@pytest.fixture(scope="module")
def adapter(tiny: BaseModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("tuned") / "lora"
    run(job(tiny, out))
    return out


@pytest.mark.slow
@pytest.mark.parametrize("full", [False, True], ids=["lora", "full"])
def test_a_killed_training_ends_with_the_same_weights(tiny: BaseModel, tmp_path: Path, full: bool) -> None:
    whole = run(job(tiny, tmp_path / "whole", full=full))
    program = [sys.executable, "-m", "tests.trained", str(tiny.folder), str(tmp_path / "killed"), "11"]
    program += ["full"] * full
    killed = subprocess.run(program, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert 0 < json.loads((tmp_path / "killed/checkpoint/state.json").read_text())["step"] < 11
    with pytest.raises(RequestError, match="stopped before its end: continue it with `icm train sft"):
        read_record(tmp_path / "killed", SftRecord)
    resumed = run(job(tiny, tmp_path / "killed", full=full), resume=True)
    assert resumed.result is not None
    assert whole.result is not None
    assert resumed.result.log == whole.result.log
    name = "model.safetensors" if full else "adapter_model.safetensors"
    assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not (tmp_path / "killed/checkpoint").exists()


def test_the_folder_is_what_peft_and_transformers_load(adapter: Path, tiny: BaseModel) -> None:
    """The adapter by transformers, by peft, and merged answer as our own classifier does."""
    from peft import AutoPeftModelForCausalLM
    from transformers import AutoModelForCausalLM, AutoTokenizer

    texts = LABELS.texts[:6]
    ours = TunedClassifier.load(adapter, tiny.folder).logprobs(texts)
    prompts = prompts_of(texts, LABELS.task, tiny.tokenizer)
    base = label_logprobs(tiny.load(), prompts)
    assert np.abs(ours - base).max() > 0.5
    merged = merge(adapter, read_record(adapter, SftRecord), tiny.folder)
    for model in (
        AutoPeftModelForCausalLM.from_pretrained(adapter),
        AutoModelForCausalLM.from_pretrained(adapter),
        load_model(merged),
    ):
        assert label_logprobs(model.eval(), prompts) == pytest.approx(ours, abs=1e-4)
    for folder in (adapter, merged):
        assert AutoTokenizer.from_pretrained(folder)(texts[0])["input_ids"] == list(prompts[0].ids)


def test_the_record_the_card_and_the_labels_tell_how_it_was_made(adapter: Path, tiny: BaseModel) -> None:
    record, used = read_record(adapter, SftRecord), read_used(adapter)
    assert [(row.example.text, row.label) for row in used] == [(r.example.text, r.label) for r in LABELS.rows]
    held_out = [json.loads(line)["held_out"] for line in (adapter / "labels.jsonl").read_text().splitlines()]
    assert record.labels.num_held_out == sum(held_out) == 14
    assert record.base.digest == tiny.digest
    assert record.result is not None
    best = max(row.held_out_agreement or 0.0 for row in record.result.log)
    assert record.result.kept.held_out_agreement == best
    card = (adapter / "README.md").read_text()
    assert "56 labels: planted" in card
    assert f"hot {LABELS.counts['hot']}" in card


def test_another_training_is_not_resumed_or_replaced(adapter: Path, tiny: BaseModel, tmp_path: Path) -> None:
    made = job(tiny, adapter)
    for other, says in (
        (replace(made, labels=planted_labels(56, wrong=0.3)), "other labels"),
        (replace(made, settings=made.settings.model_copy(update={"seed": 1})), r"another setting seed \(0, now 1\)"),
    ):
        with pytest.raises(RequestError, match=says):
            other.prepare(resume=True)
    with pytest.raises(RequestError, match="already holds a model; use --resume"):
        made.prepare()
    with pytest.raises(RequestError, match="there is no training to resume"):
        job(tiny, tmp_path / "none").prepare(resume=True)
    mine = tmp_path / "model.safetensors"
    mine.write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(RequestError, match=r"holds model.safetensors of something else"):
            job(tiny, tmp_path).prepare(overwrite=overwrite)
    for out in (tiny.folder, tiny.folder.parent):
        with pytest.raises(RequestError, match="holds the model to tune, which is needed: use another --out"):
            job(tiny, out).prepare(overwrite=True)
    before = (adapter / "adapter_model.safetensors").read_bytes()
    assert made.prepare(resume=True).has_ended
    assert (adapter / "adapter_model.safetensors").read_bytes() == before


def test_a_training_killed_while_its_folder_was_made_is_resumed(adapter: Path, tiny: BaseModel, tmp_path: Path) -> None:
    def killed() -> Iterator[UsedLabel]:
        raise KeyboardInterrupt
        yield

    out, record = tmp_path / "out", read_record(adapter, SftRecord).model_copy(update={"result": None})
    with pytest.raises(KeyboardInterrupt):
        prepare_folder(out, record, killed(), resume=False, overwrite=False)
    assert not job(tiny, out).prepare(resume=True).has_ended
    assert (out / "labels.jsonl").read_bytes() == (adapter / "labels.jsonl").read_bytes()


def test_what_was_measured_of_a_replaced_model_is_removed(tiny: BaseModel, tmp_path: Path) -> None:
    made = job(tiny, tmp_path / "out")
    made.prepare()
    for name in ("eval.json", "notes.txt"):
        (made.out / name).write_text("{}")
    made.prepare(resume=True, overwrite=True)
    assert (made.out / "eval.json").exists()
    before = {path.name: path.read_bytes() for path in made.out.iterdir()}
    damaged = shutil.copytree(tiny.folder, tmp_path / "damaged")
    (damaged / "model.safetensors").write_bytes(b"")
    other = job(BaseModel.find(str(damaged), tmp_path, print), made.out).prepare(overwrite=True)
    with pytest.raises(RequestError, match="damaged"):
        asyncio.run(other.run(Killing(None)))
    assert {path.name: path.read_bytes() for path in made.out.iterdir()} == before
    made.prepare(overwrite=True).begin()
    assert not (made.out / "eval.json").exists()
    assert (made.out / "notes.txt").exists()


def test_it_labels_the_rows_of_an_extension(adapter: Path, tiny: BaseModel, tmp_path: Path) -> None:
    names = LABELS.task.label_names
    examples, labels = [row.example for row in LABELS.rows], [names.index(row.label) for row in LABELS.rows]
    core = Core(tmp_path, LABELS.task, examples, np.array(labels), np.ones(56), np.arange(56), Settings(), num_tokens=0)
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps(example.fields) + "\n" for example in examples))
    by = tuned_rows(adapter, LABELS.task, tiny.folder, "cpu", print)
    silent = Progress(lambda text: None, lambda num: None, lambda num, usage: None)
    source = Source(rows, LABELS.task, READ_AS_IT_IS)
    asyncio.run(Extension(core, source, by, ExtendSettings(), RunDir(tmp_path), silent).run())
    found = [names.index(json.loads(line)["label"]) for line in (tmp_path / "labels.jsonl").read_text().splitlines()]
    scores = TunedClassifier.load(adapter, tiny.folder).logprobs(LABELS.texts)
    leaning = scores[:, 0] - scores[:, 1]
    # Calibration moves the boundary between two labels, not the order of the rows.
    assert leaning[np.array(found) == 0].min() > leaning[np.array(found) == 1].max()
    other = LABELS.task.model_copy(update={"template": "Other: {words}"})
    with pytest.raises(RequestError, match="was tuned for another task"):
        tuned_rows(adapter, other, tiny.folder, "cpu", print)
    core_run = finished_run(tmp_path, 8)
    rows_in_memory = [example.fields for example in examples]
    result = extend(core_run, rows_in_memory, by=adapter, rates={"hot": 0.5}, out=tmp_path / "out.csv", progress=False)
    assert set(result.labels) == set(names)
    assert result.computed_tokens == 0  # by a scorer
    with pytest.raises(RequestError, match="leave out mode= and check="):
        extend(core_run, rows, by=adapter, mode="batches")
