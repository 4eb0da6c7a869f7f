"""Where the engines of a pool run."""

from __future__ import annotations

import pytest

from icm_client.contract.errors import RequestError
from icm_server.engines.places import ANYWHERE, core_places, gpu_places


def test_each_engine_has_gpus_of_its_own() -> None:
    places = gpu_places(["4", "5", "6", "7", "8"], 2, 2)
    assert [place.environment["CUDA_VISIBLE_DEVICES"] for place in places] == ["4,5", "6,7"]
    with pytest.raises(RequestError, match="takes 6 GPUs, and this machine has 5"):
        gpu_places(["4", "5", "6", "7", "8"], 2, 3)


def test_each_engine_has_cores_of_its_own_if_there_are_enough() -> None:
    assert [place.cores for place in core_places(range(5), 2)] == [(0, 1), (2, 3, 4)]
    assert core_places([1], 2) == [ANYWHERE, ANYWHERE]
