"""Shared parts of the commands."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from icm_annealer.core.library import Library

NEEDED = tuple(Library(module, "train") for module in ("torch", "transformers", "peft"))
CACHE = Path("~/.cache/icm/models")
"""Where icm-server makes packaged models too."""

CacheOption = Annotated[
    Path, typer.Option("--cache", envvar="ICM_CACHE", help="Where packaged models (smollm2-135m) are made.")
]
DeviceOption = Annotated[
    str, typer.Option("--device", help="cpu, cuda, or auto: a GPU if there is one.", metavar="NAME")
]


def prepare_torch(needed_by: str) -> None:
    """Call it before torch is imported. Raises RequestError if a library is missing.

    Waiting threads that spin make a training 5 to 15 times slower where cores are shared with other programs.
    """
    for library in NEEDED:
        library.check(needed_by)
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
