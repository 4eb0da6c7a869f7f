"""Label rates: how they are written, and which are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests import planted

from icm_annealer.data.rates import check_attainable, label_rates_of, rates_text, read_rates
from icm_annealer.data.task import Task, load_task, with_rates
from icm_client import RequestError

TASK = Task(name="mail", template="{text}", labels={"spam": " spam", "fine": " fine", "ad": " ad"})


@pytest.mark.parametrize(
    ("written", "found"),
    [
        (["spam=0.13"], {"spam": 0.13}),
        (["spam=.1-0.2"], {"spam": [0.1, 0.2]}),
        (["spam=0.1, fine=0.5-1"], {"spam": 0.1, "fine": [0.5, 1.0]}),
        (["spam=0.1", "fine=0.5"], {"spam": 0.1, "fine": 0.5}),
        (["a=b=0.5"], {"a=b": 0.5}),
        (["none"], {}),
    ],
)
def test_rates_are_read_as_written(written: list[str], found: dict[str, Any]) -> None:
    assert read_rates(written) == found


@pytest.mark.parametrize("written", ["spam", "spam=", "spam=-0.1", "spam=1e-3", "=0.3", "spam=0.1-", "spam=nan", ""])
def test_another_form_is_an_error(written: str) -> None:
    with pytest.raises(RequestError, match="write LABEL=SHARE or LABEL=LEAST-GREATEST"):
        read_rates([written])


def test_a_label_is_named_once() -> None:
    with pytest.raises(RequestError, match="'spam' is named twice"):
        read_rates(["spam=0.1,spam=0.2"])


@pytest.mark.parametrize(
    ("rates", "says"),
    [
        ({"Spam": 0.1}, "rates: 'Spam' is none of the task's labels"),
        ({"spam": 1.2}, "rates: spam: 1.2 is not between 0 and 1"),
        ({"spam": [0.3, 0.2]}, "rates: spam: 0.3 to 0.2 is not between 0 and 1, the least share first"),
        ({"spam": float("nan")}, "is not between 0 and 1"),
        ({"spam": True}, "a share, or a list of the least and the greatest share, is needed"),
        ({"spam": [0.1, 0.2, 0.3]}, "a share, or a list"),
        ({"spam": "0.1"}, "a share, or a list"),
        ({"spam": 0.7, "fine": [0.5, 0.6]}, "the least shares add up to 1.2, which is more than 1"),
        ({"spam": 0.1, "fine": 0.2, "ad": 0.3}, "the greatest shares add up to 0.6, which is less than 1"),
    ],
)
def test_impossible_rates_are_refused(rates: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=says):
        with_rates(TASK, rates)


def test_rates_are_a_mapping() -> None:
    with pytest.raises(RequestError, match="rates: Input should be a valid dictionary"):
        with_rates(TASK, 0.13)  # type: ignore[arg-type]


def test_a_task_file_states_rates(tmp_path: Path) -> None:
    text = planted.TASK + "rates: {hot: 0.3, cool: [0.5, 0.9]}\n"
    task = load_task(str(planted.write_task(tmp_path, 4, task=text))).task
    assert task.rates == {"hot": (0.3, 0.3), "cool": (0.5, 0.9)}
    assert rates_text(task.rates) == "hot 0.3, cool 0.5 to 0.9"
    assert task.seen()["rates"] == task.rates
    assert "rates" not in with_rates(task, {}).seen()
    with pytest.raises(RequestError, match=r"task.yaml: rates: 'warm' is none of the task's labels \(hot, cool\)"):
        load_task(str(planted.write_task(tmp_path, 4, task=planted.TASK + "rates: {warm: 0.3}\n")))


def test_labels_without_a_rate_are_free() -> None:
    rates = label_rates_of({"fine": (0.2, 0.4)}, TASK.label_names)
    assert rates is not None
    assert (rates.low.tolist(), rates.high.tolist()) == ([0, 0.2, 0], [1, 0.4, 1])
    assert label_rates_of({}, TASK.label_names) is None


@pytest.mark.parametrize(
    ("rates", "known", "says"),
    [
        ({"spam": (0.01, 0.01)}, [-1] * 20, "'spam' at 0.01 of 20 examples is 0.2 of an example"),
        ({"spam": (0.1, 0.1)}, [0] * 3 + [-1] * 17, "by the known labels between 3 and 20 have it"),
        ({"spam": (0.5, 0.9)}, [1] * 11 + [-1] * 9, "by the known labels between 0 and 9 have it"),
    ],
)
def test_rates_that_these_examples_cannot_have_are_refused(
    rates: dict[str, tuple[float, float]], known: list[int], says: str
) -> None:
    with pytest.raises(RequestError, match=says):
        check_attainable(rates, TASK.label_names, np.array(known))
    check_attainable(rates, TASK.label_names, np.full(200, -1))
