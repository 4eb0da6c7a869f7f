"""The model card of a reward model."""

from __future__ import annotations

from icm_trainer.rm.record import RmRecord
from icm_trainer.sft.card import code, found_by, front_matter, training_section
from icm_trainer.sft.record import TrainingResult


def model_card(record: RmRecord, result: TrainingResult) -> str:
    """Markdown with the front matter that model hubs read: data, origin of the labels, settings, figures."""
    task, pairs = record.task, record.pairs
    later = pairs.num - pairs.num_first
    parts = [
        front_matter(record),
        f"# {task.title or task.name}: a reward model",
        f"`{record.base.name}`, fine-tuned on {pairs.num:,} pairs of texts: {pairs.origin.text}. The reward of a text "
        f"is the log-odds of the label {record.better!r} behind it: the log-probability of its text less that of "
        "all others together. Differences of rewards have a meaning, their level has none. Ask it for the "
        "probabilities of these texts:",
        code(f"{task.template}" + " ...", [f"{name}: {texts!r}" for name, texts in task.labels.items()]),
        "## Pairs",
        f"{pairs.num:,}; {pairs.num_held_out:,} of them were held out."
        + f" {later:,} were judged by a first reward model." * bool(later)
        + f" {pairs.num_cut:,} texts lost their beginning." * bool(pairs.num_cut)
        + f" `{record.used_file}` holds them all.",
        *(found_by(pairs.origin.run) if pairs.origin.run else ()),
        *training_section(
            record,
            result,
            "The loss is that of Bradley and Terry: -log sigmoid(reward of the better text - the other's).",
        ),
    ]
    return "\n\n".join(parts) + "\n"
