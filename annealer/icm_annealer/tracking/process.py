"""The process that `icm run --track` starts beside itself: `python -m icm_annealer.tracking.process FOLDER TARGET`.

It ends when its standard input is closed. The run's process holds that open, so this also works if it is killed.
"""

from __future__ import annotations

import select
import sys
from pathlib import Path

from icm_annealer.runs.directory import RunDir
from icm_annealer.tracking.follower import Follower, follow
from icm_annealer.tracking.target import Target
from icm_client.contract.errors import RequestError

PAUSE_S = 1.0


def _run_is_over() -> bool:
    """After a pause, or at once when standard input ends."""
    ready, _, _ = select.select([sys.stdin], [], [], PAUSE_S)
    return bool(ready)


def main() -> None:
    folder, target = sys.argv[1:]
    try:
        follow(Follower(RunDir(Path(folder)), Target.parse(target)), _run_is_over)
    except RequestError as error:
        sys.exit(f"error: {error.message}")


if __name__ == "__main__":
    main()
