"""Which GPUs or cores each engine of a pool uses. A leaf."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from icm_client.contract.errors import RequestError


class Place(NamedTuple):
    """Where one engine's process runs."""

    environment: dict[str, str]
    """Environment variables of the process."""
    cores: tuple[int, ...]
    """The cores that it may use; empty for all."""


ANYWHERE = Place({}, ())


def gpu_places(gpus: Sequence[str], gpus_each: int, num_engines: int) -> list[Place]:
    """Neighbouring GPUs for each engine. Raises RequestError if there are too few."""
    if gpus_each * num_engines > len(gpus):
        raise RequestError(
            f"--engines {num_engines} on {gpus_each} GPU(s) each: that takes {gpus_each * num_engines} GPUs, and this "
            f"machine has {len(gpus)}",
            code="too_few_gpus",
        )
    starts = range(0, gpus_each * num_engines, gpus_each)
    return [Place({"CUDA_VISIBLE_DEVICES": ",".join(gpus[start : start + gpus_each])}, ()) for start in starts]


def core_places(cores: Sequence[int], num_engines: int) -> list[Place]:
    """An equal part of the cores for each engine; engines share them if there are too few."""
    if len(cores) < num_engines:
        return [ANYWHERE] * num_engines
    edges = [number * len(cores) // num_engines for number in range(num_engines + 1)]
    return [Place({}, tuple(cores[edges[number] : edges[number + 1]])) for number in range(num_engines)]
