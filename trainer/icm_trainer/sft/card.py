"""The model card: README.md in a tuned model's folder."""

from __future__ import annotations

from pathlib import Path

from icm_trainer.learning.checkpoint import LogRow
from icm_trainer.sft.labelled import RunOrigin
from icm_trainer.sft.record import ReaderRecord, SftRecord, TrainingRecord, TrainingResult


def model_card(record: SftRecord, result: TrainingResult) -> str:
    """Markdown with the front matter that model hubs read: data, origin of the labels, settings, figures."""
    task = record.task
    parts = [
        front_matter(record),
        f"# {task.title or task.name}: a classifier",
        f"`{record.base.name}`, fine-tuned on {sum(record.labels.counts.values()):,} labels: "
        f"{record.labels.origin.text}. "
        "It continues a text with its label; ask it for the probabilities of the labels' texts behind an example:",
        code(f"{task.template}" + " ...", [f"{name}: {texts!r}" for name, texts in task.labels.items()]),
        "## Labels",
        *_labels(record),
        *training_section(
            record,
            result,
            "The loss is of the label's tokens alone; no end of text is learnt behind them.",
        ),
    ]
    return "\n\n".join(parts) + "\n"


def training_section(record: ReaderRecord, result: TrainingResult, loss: str) -> list[str]:
    """Settings, the curve, and which weights were kept. `loss` says what was minimised."""
    settings = record.settings
    return [
        "## Training",
        f"{settings.method}"
        + ("" if settings.full else f", rank {settings.rank}, alpha {settings.alpha}, all linear layers")
        + f"; AdamW, learning rate {settings.rate:g} falling linearly to 0, batches of {settings.batch}, "
        f"{result.steps:,} of {record.num_steps:,} steps ({_epochs(settings.epochs)}), seed {settings.seed}, preset "
        f"`{settings.preset}`, {settings.device}, {result.seconds:,.0f} seconds. {loss}",
        _curve(result.log),
        f"The weights are those of step {result.best or result.steps:,}"
        + (
            f", where the most held-out {record.given} were agreed with. These come from where the others do: agreeing "
            "with them is not being right."
            if result.best
            else f"; no {record.given} were held out."
        ),
        "Made with " + ", ".join(f"{name} {version}" for name, version in record.versions.items()) + ".",
    ]


def _epochs(num: float) -> str:
    return "1 epoch" if num == 1 else f"{num:g} epochs"


def front_matter(record: TrainingRecord, does: str = "text-classification") -> str:
    """What model hubs read; `does` is their word for what the model is for."""
    library = "transformers" if record.settings.full else "peft"
    base = record.base.name if record.base.name != record.base.folder else Path(record.base.folder).name
    return f"---\nlibrary_name: {library}\nbase_model: {base!r}\npipeline_tag: {does}\n---"


def code(*lines: str | list[str]) -> str:
    """An indented block."""
    flat = [line for part in lines for line in (part if isinstance(part, list) else part.split("\n"))]
    return "\n".join(f"    {line}" for line in flat)


def _labels(record: SftRecord) -> list[str]:
    labels = record.labels
    counts = ", ".join(f"{name} {num:,}" for name, num in labels.counts.items())
    left_out = f" {labels.num_left_out:,} rows without a label, or with an uncertain one, were left out."
    cut = f" {labels.num_cut:,} texts lost their beginning."
    lines = [
        f"{counts}; {labels.num_held_out:,} of them were held out."
        + left_out * bool(labels.num_left_out)
        + cut * bool(labels.num_cut)
        + " `labels.jsonl` holds them all."
    ]
    if labels.origin.run is not None:
        lines += found_by(labels.origin.run)
    return lines


def found_by(run: RunOrigin) -> list[str]:
    """The run's verdict and alarms."""
    u = "" if run.u is None else f" U is {run.u:+.3f} ± {run.u_se:.3f} {run.u_unit}."
    lines = [f"Found by `{run.model}` without labels of people. The run's verdict: {run.verdict}{u}"]
    if run.alarms:
        lines.append("Its alarms:\n\n" + "\n".join(f"* {alarm}" for alarm in run.alarms))
    return lines


def _curve(log: list[LogRow]) -> str:
    rows = ["| step | epoch | loss | held-out loss | held-out agreement |", "|---|---|---|---|---|"]
    for row in log:
        cells = (row.held_out_loss, row.held_out_agreement)
        held_out = " | ".join("-" if value is None else f"{value:.3f}" for value in cells)
        rows.append(f"| {row.step:,} | {row.epoch:.2f} | {row.loss:.3f} | {held_out} |")
    return "\n".join(rows)
