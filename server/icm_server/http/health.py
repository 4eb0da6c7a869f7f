"""The paths for liveness and readiness probes; they need no key."""

from __future__ import annotations

from fastapi import APIRouter

from icm_server.auth.open_paths import ALIVE_PATHS, READY_PATH
from icm_server.http.routes import ReadyScorer

router = APIRouter()


async def alive() -> dict[str, str]:
    """The process is alive."""
    return {"status": "ok"}


for _path in ALIVE_PATHS:
    router.add_api_route(_path, alive, methods=["GET"], name=_path[1:])


@router.get(READY_PATH)
async def readyz(scorer: ReadyScorer) -> dict[str, str]:
    """A real read has succeeded, the engine lives, and requests are accepted."""
    return {"status": "ready", "model": scorer.info.name}
