"""Every tracker by its name. Another one is a file with a TrackerKind and a line here, or an entry point of another
installed package."""

from __future__ import annotations

from icm_annealer.tracking.base import TrackerKind
from icm_annealer.tracking.mlflow_tracker import MLFLOW
from icm_annealer.tracking.trackio_tracker import TRACKIO
from icm_client.contract.entry_points import installed_names, load_installed
from icm_client.contract.errors import RequestError
from icm_client.http.address import shown

GROUP = "icm.trackers"
"""The entry points of installed packages: the name is the tracker's, the value a TrackerKind."""
BUILT_IN = {kind.name: kind for kind in (MLFLOW, TRACKIO)}


def tracker_usages() -> list[str]:
    """`mlflow[:URI]` and so on, the built-in ones first; imports none that is installed."""
    installed = [f"{name}[:PLACE]" for name in installed_names(GROUP) if name not in BUILT_IN]
    return [*(kind.usage for kind in BUILT_IN.values()), *installed]


def find_tracker(name: str) -> TrackerKind:
    """The tracker of this name, whose library is installed. Raises RequestError; a built-in one is never replaced."""
    kind = BUILT_IN.get(name) or load_installed(GROUP, name, "tracker", TrackerKind)
    if kind is None:
        raise RequestError(f"no tracker {shown(name)!r}: --track takes {' or '.join(tracker_usages())}")
    kind.library.check(f"--track {name}")
    return kind
