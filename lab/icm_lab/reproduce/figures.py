"""The paper's figures: their claims, the comparisons that test these, and the paper's results."""

from __future__ import annotations

from collections.abc import Collection

from icm_client.contract.errors import RequestError
from icm_lab.reproduce.claims import LARGE, MEDIUM, REAL, SMALL, Claim, Figure, MethodBar, beats, matches
from icm_lab.reproduce.measures import LABELS
from icm_lab.reproduce.trained_figures import TRAINED

ELICITED = (
    ("living", REAL),
    ("lab-arithmetic", LARGE),
    ("lab-misconceptions", LARGE),
    ("lab-preferences", LARGE),
)
"""Tasks with the models that have learnt their concepts."""

PROMPTED = (
    Figure(
        "3",
        "ICM beats zero-shot prompting and matches gold labels",
        "GSM8K 81 against 48 zero-shot, 81 gold (8B); TruthfulQA 91, 60, 92; Alpaca 68, 50, 66 human (70B).",
        tuple(
            claim
            for task, model in ELICITED
            for claim in (beats(task, model, "zero_shot"), matches(task, model, "gold"))
        ),
        tuple(
            MethodBar(model, task, method)
            for task, model in ELICITED
            for method in ("zero_shot", "random_few_shot", "icm", "gold")
        ),
    ),
    Figure(
        "4",
        "Larger models are elicited better",
        "The gap to gold labels closes from 8B to 70B.",
        tuple(
            Claim(MethodBar(LARGE, task, "icm"), "higher", MethodBar(SMALL, task, "icm"))
            for task in ("lab-arithmetic", "lab-misconceptions")
        ),
        tuple(
            MethodBar(model, task, method)
            for task in ("lab-arithmetic", "lab-misconceptions")
            for model in (SMALL, MEDIUM, LARGE)
            for method in ("icm", "gold")
        ),
    ),
    Figure(
        "5",
        "A concept that is not salient is not found",
        "Poems preferred for the word sun: at chance.",
        (Claim(MethodBar(LARGE, "lab-not-salient", "icm"), "matches", 0.5),),
        tuple(MethodBar(LARGE, "lab-not-salient", method) for method in ("zero_shot", "icm", "gold")),
    ),
    Figure(
        "6",
        "ICM elicits what the model knows better than people",
        "Gender of authors: about 80, as with gold labels; people 60.",
        (beats("lab-superhuman", LARGE, "human"), matches("lab-superhuman", LARGE, "gold")),
        tuple(MethodBar(LARGE, "lab-superhuman", method) for method in ("zero_shot", "human", "icm", "gold")),
    ),
    Figure(
        "8",
        "ICM's labels beat equally accurate ones whose mistakes are random",
        "Higher on all tasks.",
        tuple(beats(task, REAL, "noise") for task in ("living", "names")),
    ),
    Figure(
        "9",
        "The start matters little",
        "Golden, random and worst starts end close to each other.",
        tuple(
            matches(task, model, "from_gold", method, LABELS)
            for task, model in (("living", REAL), ("lab-arithmetic", LARGE))
            for method in ("from_random", "from_wrong")
        ),
    ),
    Figure(
        "10",
        "Consistency rules are needed",
        "Alpaca without the rule: labels almost always all alike.",
        (
            beats("edible-pairs", REAL, "icm_without_rules", measure=LABELS),
            # The larger models know for certain which is better, and need no rule to say so.
            beats("lab-preferences", SMALL, "published_without_rules", "published", LABELS),
            beats("lab-preferences", SMALL, "icm_without_rules", measure=LABELS),
        ),
        tuple(MethodBar(LARGE, "lab-preferences", method, LABELS) for method in ("icm", "icm_without_rules")),
    ),
)

FIGURES = (*PROMPTED, *TRAINED)
MODELS = tuple(dict.fromkeys(bar.model for figure in FIGURES for bar in figure.bars))


def chosen_figures(names: Collection[str], models: Collection[str]) -> list[Figure]:
    """The figures of these names or numbers, with their claims on these models. Without names all; without models all,
    but only the laboratory's where models are tuned. Raises RequestError."""
    known = dict.fromkeys(name for one in FIGURES for name in (one.number, one.name))
    for name in names:
        if name not in known:
            raise RequestError(f"no figure {name!r}; known: {', '.join(known)}")
    for name in models:
        if name not in MODELS:
            raise RequestError(f"no figure is of the model {name!r}; known: {', '.join(MODELS)}")
    chosen = [one for one in FIGURES if not names or one.number in names or one.name in names]
    tuned = [name for name in MODELS if name != REAL]
    found = [one.on(models or (tuned if one.trains else MODELS)) for one in chosen]
    if not any(one.claims for one in found):
        raise RequestError(
            f"no claim of figure {', '.join(one.name for one in chosen)} is on {', '.join(models)} alone"
        )
    return [one for one in found if one.claims]
