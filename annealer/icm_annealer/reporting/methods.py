"""The titles and colours of labelling methods in tables, plots and pages. A leaf."""

from __future__ import annotations

from icm_annealer.plots.base import BLUE, GREEN, ORANGE, PURPLE, SKY, SOFT, VERMILLION

TITLES = {
    "zero_shot": "zero-shot",
    "random_few_shot": "random labels",
    "icm": "ICM",
    "human": "human labels",
    "noise": "gold with noise",
    "gold": "gold labels",
    "many_shot": "its labels as shots",
    "tuned": "fine-tuned",
}
"""By the names in files, in the order of pages. A method that appears in one place only has its title there."""
_COLOURS = {
    "zero_shot": SOFT,
    "zero_shot_prefix": SOFT,
    "random_few_shot": SKY,
    "icm": BLUE,
    "human": PURPLE,
    "noise": VERMILLION,
    "gold": ORANGE,
    "many_shot": BLUE,
}


def colour_of(method: str) -> str:
    """The colour of a method's bars; all searches but ICM share one, since their names stand beside them."""
    return _COLOURS.get(method, GREEN)
