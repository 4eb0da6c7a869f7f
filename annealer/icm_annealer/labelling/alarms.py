"""All alarms: signs of failure in a finished search, without gold labels. To add one, write a check and list it
here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from icm_annealer.data.examples import Example
from icm_annealer.labelling.alarm import Alarm, AlarmKind, FinishedSearch
from icm_annealer.labelling.coherence_alarms import (
    below_start,
    chains_disagree,
    contexts_cut,
    falls_on_fresh_orders,
    little_information,
    low_label_mass,
    opposite_of_start,
    oscillating,
    stopped_at_budget,
    too_close_to_call,
    uneven_labels,
)
from icm_annealer.labelling.rescore import Rescored
from icm_annealer.labelling.spread_alarm import engine_spread
from icm_annealer.labelling.surface_alarms import length, neighbours_alike, position, source
from icm_annealer.search.base import Problem, Result

SEARCH_ALARMS: tuple[AlarmKind[FinishedSearch], ...] = (
    AlarmKind("little-information", "warning", "the examples say little about each other's labels", little_information),
    AlarmKind("uneven-labels", "warning", "nearly all labels are the same", uneven_labels),
    AlarmKind("chains-disagree", "warning", "chains from different starts found different labels", chains_disagree),
    AlarmKind(
        "opposite-of-start",
        "warning",
        "the labels mostly contradict zero-shot: the two may have been exchanged",
        opposite_of_start,
    ),
    AlarmKind("low-label-mass", "warning", "the model expects other words than the labels", low_label_mass),
    AlarmKind("too-close-to-call", "warning", "another answer has as high a U", too_close_to_call),
    AlarmKind("below-start", "warning", "U is below that of the zero-shot labels", below_start),
    AlarmKind("chains-oscillate", "warning", "chains went back and forth between two labellings", oscillating),
    AlarmKind("order-exploited", "warning", "U falls on fresh orders of the contexts", falls_on_fresh_orders),
    AlarmKind("contexts-cut", "note", "contexts did not fit the model's window", contexts_cut),
    AlarmKind("stopped-at-budget", "note", "the search was stopped at its budget", stopped_at_budget),
    AlarmKind("surface-length", "note", "labels correlate with the length of the text", length),
    AlarmKind("surface-position", "note", "labels correlate with the position in the data", position),
    AlarmKind("surface-source", "note", "labels correlate with the field `source`", source),
    AlarmKind("neighbours-alike", "note", "neighbours in the data have the same label too often", neighbours_alike),
)
"""Alarms about the result of a search."""
RESCORING_ALARMS: tuple[AlarmKind[Rescored], ...] = (
    AlarmKind("engine-spread", "note", "the engine answers differently when asked again", engine_spread),
)
"""Alarms about the engine, from scoring a part of the last pass again."""
ALARMS: tuple[AlarmKind[Any], ...] = (*SEARCH_ALARMS, *RESCORING_ALARMS)


def alarms(
    problem: Problem, result: Result, examples: Sequence[Example], num_dropped: int = 0, *, is_stopped: bool = False
) -> list[Alarm]:
    """All alarms about `result`, warnings first."""
    search = FinishedSearch(problem, result, examples, num_dropped, is_stopped)
    raised = [alarm for kind in SEARCH_ALARMS for alarm in kind.raised(search)]
    return sorted(raised, key=lambda alarm: alarm.level != "warning")


def spread_alarms(rescored: Rescored) -> list[Alarm]:
    """All alarms about the engine."""
    return [alarm for kind in RESCORING_ALARMS for alarm in kind.raised(rescored)]
