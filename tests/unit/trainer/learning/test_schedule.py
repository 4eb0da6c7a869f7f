"""Every row once an epoch; looks at held-out rows; a rate that falls to nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from icm_client.contract.errors import RequestError
from icm_trainer.learning.disk import check_room
from icm_trainer.learning.schedule import Schedule


def test_an_epoch_has_every_row_once_in_an_order_of_its_own() -> None:
    schedule = Schedule(num_rows=10, rate=0.5, epochs=2.5, batch=4, seed=3)
    assert (schedule.steps_per_epoch, schedule.num_steps) == (3, 8)
    epochs = [np.concatenate([schedule.rows(3 * epoch + step) for step in range(3)]) for epoch in range(2)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert list(epochs[0]) != list(epochs[1])
    assert [step for step in range(1, 9) if schedule.looks_after(step)] == [1, 2, 3, 4, 5, 6, 7, 8]
    longer = Schedule(num_rows=100, rate=0.5, epochs=2, batch=10, seed=3)
    assert [step for step in range(1, 21) if longer.looks_after(step)] == [5, 10, 15, 20]
    assert longer.rate_at(0) == 0.5
    assert longer.rate_at(19) == pytest.approx(0.025)


def test_a_full_disk_is_an_error_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"a model needs .* GB and the disk has .* free: make room"):
        check_room(tmp_path, 10**18, "a model")
