"""The model card of a policy."""

from __future__ import annotations

from icm_client.text.counts import counted
from icm_trainer.rl.record import RlRecord
from icm_trainer.sft.card import code, found_by, front_matter
from icm_trainer.sft.record import TrainingResult


def model_card(record: RlRecord, result: TrainingResult) -> str:
    """Markdown with the front matter that model hubs read: data, origin of the labels, settings, figures."""
    ended, settings, reward = record.model_copy(update={"result": result}), record.settings, record.reward
    start, kept = ended.log[0].figures, ended.kept.figures
    penalty = f" less {settings.length_penalty:g} for every token" if settings.length_penalty else ""
    parts = [
        front_matter(record, "text-generation"),
        f"# {record.task.title or record.task.name}: a policy",
        f"`{record.base.name}`, trained by reinforcement learning to write what a reward model likes. The reward of a "
        f"response is the log-odds of the label {reward.better!r} behind it{penalty}; the reward model learnt from "
        f"pairs: {reward.origin.text}. Ask it with a prompt as far as the last field, which it writes:",
        code(record.task.template),
        *(found_by(reward.origin.run) if reward.origin.run else ()),
        "## Training",
        f"GRPO, LoRA, rank {settings.rank}, alpha {settings.alpha}; AdamW, learning rate {settings.rate:g} falling "
        f"linearly to 0; {result.steps:,} of {settings.steps:,} steps of {counted(settings.batch, 'prompt')} with "
        f"{settings.group} responses each of at most {settings.tokens} tokens, drawn at temperature 1 by "
        f"{settings.writer}; KL to the start weighs {settings.beta:g}, its ceiling is {settings.kl_ceiling:g} nats per "
        f"response; seed {settings.seed}, "
        f"{settings.device}, {result.seconds:,.0f} seconds. {counted(record.num_prompts, 'prompt')} "
        f"{record.prompts_origin}, {record.num_held_out:,} of them held out; `prompts.jsonl` holds them all.",
        f"The weights are those of step {result.best or 0:,}: mean reward {start['reward']:+.2f} -> "
        f"{kept['reward']:+.2f}, KL {kept['kl']:.2f} nats per response, length {start['length']:.1f} -> "
        f"{kept['length']:.1f} tokens, on the {counted(record.num_shown, 'prompt that is', 'prompts that are')} "
        "answered at every look. "
        "The reward is the training's own, so it says how well the reward model was pleased, not how good responses "
        "are: `icm train eval-rl` asks a judge that took no part.",
        *(f"**{alarm.level}: {alarm.code}.** {alarm}" for alarm in ended.alarms),
        _curve(ended),
        "Made with " + ", ".join(f"{name} {version}" for name, version in record.versions.items()) + ".",
    ]
    return "\n\n".join(parts) + "\n"


def _curve(record: RlRecord) -> str:
    rows = ["| step | reward | KL | length |", "|---|---|---|---|"]
    for row in record.log:
        one = row.figures
        rows.append(f"| {row.step:,} | {one['reward']:+.2f} | {one['kl']:.2f} | {one['length']:.1f} |")
    return "\n".join(rows)
