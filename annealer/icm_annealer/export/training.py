"""TRL's training data (https://huggingface.co/docs/trl/dataset_formats): JSON lines."""

from __future__ import annotations

from pathlib import Path

from icm_annealer.export.base import ExportFormat, ExportJob, Written
from icm_annealer.export.reading import Reading
from icm_annealer.export.responses import judged_pairs, judgements
from icm_annealer.export.tables import write_jsonl
from icm_client.contract.errors import RequestError


def _sft(path: Path, job: ExportJob) -> Written:
    """Prompt and completion: the example, and the text of its label."""
    texts = dict(zip(job.task.label_names, job.task.verbalizers, strict=True))
    rows = ({"prompt": example.text, "completion": texts[row.label]} for example, row, _ in job.labelled)
    write_jsonl(path, rows)
    return Written(len(job.labelled), [])


def _kto(path: Path, job: ExportJob) -> Written:
    """Unpaired preference: prompt, completion, label."""
    reading = _with_prompt(job.read())
    found = judgements(job.labelled, reading)
    write_jsonl(path, (judgement._asdict() for judgement in found))
    good = sum(judgement.label for judgement in found)
    return Written(len(found), [f"read as: {reading}", f"{good:,} good, {len(found) - good:,} not"])


def _dpo(path: Path, job: ExportJob) -> Written:
    """Preference with its prompt: prompt, chosen, rejected."""
    reading = _with_prompt(job.read())
    return _pairs(path, job, reading, has_prompt=True)


def _rm(path: Path, job: ExportJob) -> Written:
    """Preference with the prompt in both texts, as TRL recommends for reward models: chosen, rejected."""
    return _pairs(path, job, job.read(), has_prompt=False)


def _pairs(path: Path, job: ExportJob, reading: Reading, *, has_prompt: bool) -> Written:
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


SFT = ExportFormat("sft", "prompt and completion, for TRL", "sft.jsonl", _sft)
DPO = ExportFormat("dpo", "preferences with their prompt, for TRL", "dpo.jsonl", _dpo)
KTO = ExportFormat("kto", "unpaired preferences, for TRL", "kto.jsonl", _kto)
RM = ExportFormat("rm", "preferences for reward models, for TRL", "rm.jsonl", _rm)
