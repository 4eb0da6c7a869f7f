"""The figures for which models are tuned on the labels. Data only."""

from __future__ import annotations

from icm_lab.reproduce.claims import LARGE, MEDIUM, REAL, SMALL, Claim, Figure, MethodBar, beats, matches
from icm_lab.reproduce.measures import LABELS, OVER_GOLD, OVER_PEOPLE, REWARD, SHOTS, TUNED, WINS

ELICITED = (
    ("living", REAL),
    ("lab-arithmetic", LARGE),
    ("lab-misconceptions", LARGE),
    ("lab-preferences", LARGE),
    ("lab-superhuman", LARGE),
)
PEOPLE = "lab-superhuman"
"""The world with labels of people, who go by the topic."""
MISTAKEN = (("living", REAL), ("names", REAL), ("lab-preferences", SMALL), ("lab-unbalanced", MEDIUM))
"""Tasks with models whose labels by ICM are not all right."""
RELABELLED = (("living", REAL), ("lab-preferences", SMALL), ("lab-misconceptions", LARGE))
"""On the last, ICM's labels are right, and can only be kept."""
BY_ROUND = tuple(
    name
    for start, before in (("icm", "icm"), ("zero_shot", "calibrated_zero_shot"))
    for name in (before, f"{start}_round_1", f"{start}_round_2", f"{start}_relabelled")
)

TRAINED = (
    Figure(
        "3-tuned",
        "Fine-tuned on ICM's labels, a model is as good as on gold labels",
        "Fine-tuned on its own labels, a model matches one tuned on gold labels and beats one tuned on human labels.",
        (
            *(
                claim
                for task, model in ELICITED
                for claim in (
                    Claim(MethodBar(model, task, "icm", TUNED), "higher", MethodBar(model, task, "zero_shot")),
                    matches(task, model, "gold", measure=TUNED),
                    Claim(MethodBar(model, task, "icm", TUNED), "matches", MethodBar(model, task, "icm")),
                )
            ),
            beats(PEOPLE, LARGE, "human", measure=TUNED),
        ),
        tuple(
            MethodBar(model, task, method, measure)
            for task, model in ELICITED
            for method, measure in (
                ("zero_shot", SHOTS),
                ("icm", SHOTS),
                *((("human", TUNED),) if task == PEOPLE else ()),
                ("icm", TUNED),
                ("gold", TUNED),
            )
        ),
        cost="3 min",
    ),
    Figure(
        "7-reward",
        "A reward model of ICM's labels is better than one of people's",
        "RewardBench 75.0, by human labels 72.2.",
        (beats(PEOPLE, LARGE, "human", measure=REWARD), matches(PEOPLE, LARGE, "gold", measure=REWARD)),
        tuple(MethodBar(LARGE, PEOPLE, method, REWARD) for method in ("human", "icm", "gold")),
        cost="1 min",
    ),
    Figure(
        "7-policy",
        "So is the policy by it",
        "60 % wins against the policy by human labels (version 2: as many as it).",
        (
            beats(PEOPLE, LARGE, "human", measure=WINS),
            matches(PEOPLE, LARGE, "gold", measure=WINS),
            Claim(MethodBar(LARGE, PEOPLE, "icm", OVER_PEOPLE), "higher", 0.5),
            Claim(MethodBar(LARGE, PEOPLE, "icm", OVER_GOLD), "matches", 0.5),
        ),
        tuple(MethodBar(LARGE, PEOPLE, method, WINS) for method in ("human", "icm", "gold")),
        cost="4 min",
    ),
    Figure(
        "8-tuned",
        "Fine-tuned on ICM's labels, a model is better than on equally accurate ones whose mistakes are random",
        "Higher on all tasks.",
        tuple(beats(task, model, "noise", measure=TUNED) for task, model in MISTAKEN),
        tuple(MethodBar(model, task, method, TUNED) for task, model in MISTAKEN for method in ("icm", "noise")),
        cost="2 min",
    ),
    Figure(
        "v2",
        "Labels from models that are tuned on the labels of other examples are better",
        "Version 2, scalable ICM: each fold is labelled by a model tuned on the other folds.",
        tuple(
            claim
            for task, model in RELABELLED
            for claim in (
                (matches if model == LARGE else beats)(task, model, "icm", "icm_relabelled", LABELS),
                beats(task, model, "calibrated_zero_shot", "zero_shot_relabelled", LABELS),
                matches(task, model, "icm_relabelled", "zero_shot_relabelled", LABELS),
            )
        ),
        tuple(MethodBar(model, task, method, LABELS) for task, model in RELABELLED for method in BY_ROUND),
        cost="4 min",
    ),
)
