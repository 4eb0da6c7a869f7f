"""Files that the paper's authors released: others' data, so not in this project. Their tests run where they lie."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

FOLDER = Path(os.environ.get("ICM_SHARED", Path(__file__).parents[1] / "../shared")) / "data"


def released_file(name: str) -> Path:
    """The file's path; skips the test where it is not there."""
    path = FOLDER / name
    if not path.exists():
        pytest.skip(f"{path} is not there: set ICM_SHARED to the folder that holds data/{name}")
    return path
