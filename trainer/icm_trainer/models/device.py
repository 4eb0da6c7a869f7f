"""Where a training computes, and with how many threads. A leaf."""

from __future__ import annotations

import os
from typing import Literal

from icm_client.contract.errors import RequestError

DeviceName = Literal["cpu", "cuda"]


def chosen_device(wanted: str) -> DeviceName:
    """`cpu` or `cuda` for `auto`, `cpu` or `cuda`. Raises RequestError for a GPU that torch does not see."""
    import torch

    sees_gpu = torch.cuda.is_available()
    if wanted == "cuda" and not sees_gpu:
        raise RequestError(
            f"--device cuda: torch {torch.__version__} sees no GPU here; use --device cpu, or install torch for CUDA "
            "and check `nvidia-smi`",
            code="no_gpu",
        )
    if wanted not in ("auto", "cpu", "cuda"):
        raise RequestError(f"no device {wanted!r}: choose auto, cpu or cuda")
    return "cuda" if sees_gpu and wanted != "cpu" else "cpu"


def available_threads() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def use_threads(num: int) -> None:
    """Sets torch's threads: the order of sums, and so the last digits of weights, depend on their number.

    Threads that wait by spinning are 5 to 15 times slower than one where cores are shared; OMP_WAIT_POLICY=passive in
    the environment prevents it, and only before torch is imported, so the command line sets it.
    """
    import torch

    torch.set_num_threads(num)
