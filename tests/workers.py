"""How tests are dealt out to the workers of pytest-xdist."""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling

TOGETHER = ("tests/engine/", "tests/unit/trainer/")
"""Folders whose files are all for one worker: no two workers start vLLM at the same time, and only one imports what
tunes a model and makes one to tune (4 CPU seconds)."""


class ByFile(LoadScopeScheduling):
    """A file is for one worker, so what its tests share is made once; some folders are as well."""

    def _split_scope(self, nodeid: str) -> str:
        folder = next(filter(nodeid.startswith, TOGETHER), None)
        return folder or nodeid.partition("::")[0]
