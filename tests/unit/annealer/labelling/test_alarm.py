"""The registration of alarms."""

from __future__ import annotations

import numpy as np
import pytest

from icm_annealer.core.objective import Objective
from icm_annealer.data.examples import Example
from icm_annealer.labelling import alarms as registry
from icm_annealer.labelling.alarm import AlarmKind, AlarmText, FinishedSearch
from icm_annealer.rules.consistency import Consistency
from icm_annealer.scoring.prefix_plan import PlanKind
from icm_annealer.search.base import Candidate, Problem, Result


def test_no_two_alarms_have_one_code() -> None:
    codes = [kind.code for kind in registry.ALARMS]
    assert len(set(codes)) == len(codes)


def test_an_alarm_is_a_check_and_an_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    def odd_number(search: FinishedSearch) -> AlarmText | None:
        num = len(search.result.winner.labels)
        return AlarmText(f"{num} labels.", "Take one less.") if num % 2 else None

    toy = AlarmKind("odd-number", "warning", "the number of labels is odd", odd_number)
    monkeypatch.setattr(registry, "SEARCH_ALARMS", (*registry.SEARCH_ALARMS, toy))

    def codes(num: int) -> list[str]:
        labels = np.arange(num) % 2
        judge = Consistency([], [np.array([k]) for k in range(num)], [{}] * num, ["a", "b"])
        problem = Problem(num, 2, [], judge, Objective(), PlanKind("tree"))
        winner = Candidate(("toy",), labels, 0.5, np.log(np.where(np.eye(2)[labels] > 0, 0.9, 0.1)), [0.5, 0.5])
        examples = [Example(str(k), "text", None, {}) for k in range(num)]
        return [alarm.code for alarm in registry.alarms(problem, Result([winner], None), examples, 3)]

    assert codes(4) == ["contexts-cut"]
    assert codes(5) == ["odd-number", "contexts-cut"]
