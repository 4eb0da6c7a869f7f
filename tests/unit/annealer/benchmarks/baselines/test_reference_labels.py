"""Reference labels: human labels, and gold labels with noise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from icm_annealer.benchmarks.baselines.reference_labels import human_labels, with_noise
from icm_annealer.data.examples import Example
from icm_annealer.data.task import Task
from icm_client import RequestError

TASK = Task(
    name="t", template="{text}", labels={"yes": " yes", "no": " no"}, gold="gold", gold_values={"1": "yes", "0": "no"}
)


@given(st.integers(2, 5), st.integers(1, 60), st.floats(0, 1), st.integers(0, 1000))
def test_noise_leaves_as_many_labels_right_as_stated(num_labels: int, num: int, share: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    gold, num_wrong = rng.integers(num_labels, size=num), round(share * num)
    before = gold.copy()
    labels = with_noise(gold, num_wrong, num_labels, rng)
    assert int((labels != gold).sum()) == num_wrong
    assert ((labels >= 0) & (labels < num_labels)).all()
    assert (gold == before).all()


def test_noise_meets_everybody_alike() -> None:
    gold = np.arange(40) % 4
    counts = sum((with_noise(gold, 10, 4, np.random.default_rng(seed)) != gold).astype(int) for seed in range(400))
    assert np.abs(np.asarray(counts) - 100).max() < 40  # 4.6 standard deviations


def examples(*values: object) -> list[Example]:
    return [Example(str(k), "x", None, {"text": "x", "person": value}) for k, value in enumerate(values)]


def test_people_may_leave_examples_out_and_name_labels_as_gold_does() -> None:
    assert human_labels(examples("yes", None, 0, "no", 1.0), "person", TASK).tolist() == [0, -1, 1, 1, 0]


@pytest.mark.parametrize(
    ("field", "says"),
    [
        ("persons", "the field 'persons' gives no example a label .*text, person"),
        ("gold", "is the task's gold field"),
        ("text", "example '0', field 'text': the label 'x' is none of yes, no"),
    ],
)
def test_a_wrong_field_is_reported(field: str, says: str) -> None:
    with pytest.raises(RequestError, match=says):
        human_labels(examples("yes", "no"), field, TASK)
