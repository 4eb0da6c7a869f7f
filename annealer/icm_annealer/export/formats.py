"""Every format by its name: how it is written, and where if nobody says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from icm_annealer.data.task import Task
from icm_annealer.export.labelled import Labelled
from icm_annealer.export.reading import Reading
from icm_annealer.export.responses import judged_pairs, judgements
from icm_annealer.export.review import labeling_config, write_cleanlab, write_label_studio
from icm_annealer.export.tables import records, write_csv, write_dataset, write_jsonl, write_parquet
from icm_client.contract.errors import RequestError

FormatName = Literal["jsonl", "csv", "parquet", "sft", "dpo", "kto", "rm", "hf", "cleanlab", "label-studio"]


@dataclass(frozen=True)
class Job:
    """What is exported."""

    task: Task
    labelled: Sequence[Labelled]
    model_version: str
    suffix: str
    """How the name of the file to write ends."""
    read: Callable[[], Reading]
    """How examples are read as responses; called by formats that need to know."""
    raw: bool = False
    """Whether a CSV holds texts as they are, also those that a spreadsheet would calculate."""


class Written(NamedTuple):
    """How many rows were written, and what a person should know of them."""

    num_rows: int
    notes: list[str]


class Format(NamedTuple):
    """One format. `write` makes a file, or a folder, at the path that it is given."""

    file_name: str
    write: Callable[[Path, Job], Written]
    is_folder: bool = False


def _jsonl(path: Path, job: Job) -> Written:
    write_jsonl(path, records(job.labelled))
    return Written(len(job.labelled), [])


def _csv(path: Path, job: Job) -> Written:
    write_csv(path, job.labelled, raw=job.raw)
    return Written(len(job.labelled), [])


def _parquet(path: Path, job: Job) -> Written:
    write_parquet(path, job.labelled, job.task)
    return Written(len(job.labelled), [])


def _dataset(path: Path, job: Job) -> Written:
    write_dataset(path, job.labelled, job.task)
    return Written(len(job.labelled), [])


def _sft(path: Path, job: Job) -> Written:
    """Prompt and completion: the example, and the text of its label."""
    texts = dict(zip(job.task.label_names, job.task.verbalizers, strict=True))
    rows = ({"prompt": example.text, "completion": texts[row.label]} for example, row in job.labelled)
    write_jsonl(path, rows)
    return Written(len(job.labelled), [])


def _kto(path: Path, job: Job) -> Written:
    """Unpaired preference: prompt, completion, label."""
    reading = _with_prompt(job.read())
    found = judgements(job.labelled, reading)
    write_jsonl(path, (judgement._asdict() for judgement in found))
    good = sum(judgement.label for judgement in found)
    return Written(len(found), [f"read as: {reading}", f"{good:,} good, {len(found) - good:,} not"])


def _dpo(path: Path, job: Job) -> Written:
    """Preference with its prompt: prompt, chosen, rejected."""
    reading = _with_prompt(job.read())
    return _pairs(path, job, reading, has_prompt=True)


def _rm(path: Path, job: Job) -> Written:
    """Preference with the prompt in both texts, as TRL recommends for reward models: chosen, rejected."""
    return _pairs(path, job, job.read(), has_prompt=False)


def _pairs(path: Path, job: Job, reading: Reading, *, has_prompt: bool) -> Written:
    pairs, notes = judged_pairs(job.labelled, reading)
    if not pairs:
        raise RequestError("no pairs: " + ("; ".join(notes) or "no group has two labels") + f" (read as: {reading})")
    rows = [pair._asdict() for pair in pairs]
    if not has_prompt:
        rows = [{"chosen": p.prompt + p.chosen, "rejected": p.prompt + p.rejected} for p in pairs]
    write_jsonl(path, rows)
    return Written(len(pairs), [f"read as: {reading}", *notes])


def _with_prompt(reading: Reading) -> Reading:
    if not reading.prompt.strip():
        raise RequestError(
            f"nothing of the template stands before the response {reading.responses[0]!r}, and this format needs a "
            "prompt: give one with --prompt, such as --prompt 'Write a poem.', or use --format rm"
        )
    return reading


def _cleanlab(path: Path, job: Job) -> Written:
    write_cleanlab(path, job.labelled, job.task, as_csv=job.suffix == ".csv", raw=job.raw)
    missing = [name for name in job.task.label_names if all(row.label != name for _, row in job.labelled)]
    return Written(len(job.labelled), [f"no example has the label {', '.join(missing)}"] if missing else [])


def _label_studio(path: Path, job: Job) -> Written:
    write_label_studio(path, job.labelled, job.model_version)
    return Written(len(job.labelled), [f"labeling interface: {labeling_config(job.task)}"])


FORMATS: dict[FormatName, Format] = {
    "jsonl": Format("export.jsonl", _jsonl),
    "csv": Format("export.csv", _csv),
    "parquet": Format("export.parquet", _parquet),
    "sft": Format("sft.jsonl", _sft),
    "dpo": Format("dpo.jsonl", _dpo),
    "kto": Format("kto.jsonl", _kto),
    "rm": Format("rm.jsonl", _rm),
    "hf": Format("dataset", _dataset, is_folder=True),
    "cleanlab": Format("cleanlab.npz", _cleanlab),
    "label-studio": Format("label-studio.json", _label_studio),
}
