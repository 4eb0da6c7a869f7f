"""Every tracker by its name. Another one is a file with a TrackerKind and a line here, or an entry point of another
installed package."""

from __future__ import annotations

from icm_annealer.tracking.base import TrackerKind
from icm_annealer.tracking.mlflow_tracker import MLFLOW
from icm_annealer.tracking.trackio_tracker import TRACKIO
from icm_client.contract.entry_points import EntryPointGroup
from icm_client.contract.errors import RequestError
from icm_client.http.address import shown

BUILT_IN = {kind.name: kind for kind in (MLFLOW, TRACKIO)}
INSTALLED = EntryPointGroup("icm.trackers", "tracker", TrackerKind, BUILT_IN)


def tracker_usages() -> list[str]:
    """`mlflow[:URI]` and so on, the built-in ones first; imports none that is installed."""
    return [*(kind.usage for kind in BUILT_IN.values()), *(f"{name}[:PLACE]" for name in INSTALLED.names())]


def find_tracker(name: str) -> TrackerKind:
    """The tracker of this name, whose library is installed. Raises RequestError."""
    kind = INSTALLED.load(name) or BUILT_IN.get(name)
    if kind is None:
        raise RequestError(f"no tracker {shown(name)!r}: choose {' or '.join(tracker_usages())}")
    kind.library.check(f"the tracker {name}")
    return kind
