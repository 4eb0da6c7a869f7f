"""`bench.json`: a file of several parts, each written by one command that keeps the other parts."""

from __future__ import annotations

import json
import os
import platform
import time
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from icm_annealer.runs.atomic_write import check_writable, make_folder
from icm_annealer.runs.directory import RunDir
from icm_annealer.sources.json_text import parsed
from icm_client.contract.errors import RequestError


def read_figures(path: Path) -> dict[str, Any]:
    """The contents of the file; empty if it is missing. Raises RequestError if it is not such a file."""
    try:
        figures = parsed(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise RequestError(f"{path}: {error.strerror}") from None
    except ValueError:
        figures = None
    if not isinstance(figures, dict):
        raise RequestError(f"{path} is not a file of figures; move it away, or give another --out")
    return figures


def check_figures(path: Path) -> None:
    """Checks, before any measurement, that the file can be written. Raises RequestError."""
    read_figures(path)
    check_writable(path)


def save_figures(path: Path, **parts: Any) -> None:
    """Replaces the given parts, and writes the file atomically."""
    make_folder(path.parent)
    RunDir(path.parent).write_json(path.name, {**read_figures(path), **parts})


def as_json(model: BaseModel, **options: Any) -> dict[str, Any]:
    """The form of a model in the file, with null for NaN; `options` are those of `model_dump_json`."""
    written: dict[str, Any] = json.loads(model.model_dump_json(**options))
    return written


class Machine(BaseModel):
    """Where and when figures were measured."""

    model_config = ConfigDict(strict=True, frozen=True)

    processor: str
    cores: int
    date: str


def machine() -> Machine:
    """This machine, today."""
    return Machine(processor=_processor(), cores=os.cpu_count() or 1, date=time.strftime("%Y-%m-%d"))


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
