"""How tests are dealt out to the workers of pytest-xdist."""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling

ENGINE = "tests/engine/"


class ByFile(LoadScopeScheduling):
    """A file is for one worker, so what its tests share is made once.

    `tests/engine` as a whole is for one worker, so no two workers start vLLM at the same time.
    """

    def _split_scope(self, nodeid: str) -> str:
        return ENGINE if nodeid.startswith(ENGINE) else nodeid.partition("::")[0]
