"""Runs in Trackio: files on this machine, shown by `trackio show`."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from icm_annealer.core.library import Library
from icm_annealer.tracking.base import TrackerKind

PROJECT = "icm"


class TrackioTracker:
    """See `base.Tracker`. What is no number at a run's end is one of its last step's values."""

    def __init__(self, project: str | None):
        import trackio  # in the tracker's process alone

        self._trackio = trackio
        self._project = project or PROJECT
        self._step = 0

    def begin(self, name: str, params: Mapping[str, str]) -> str:
        key = f"{name}-{secrets.token_hex(3)}"  # Trackio continues runs by name, and folders may share one
        self._init(key, "never", params)
        return key

    def resume(self, key: str) -> None:
        self._init(key, "allow", None)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self._step = step
        self._trackio.log(dict(metrics), step=step)

    def end(self, state: str, facts: Mapping[str, str]) -> None:
        self._trackio.log({"state": state, **facts}, step=self._step)
        self._trackio.finish()

    def _init(self, key: str, resume: str, params: Mapping[str, str] | None) -> None:
        self._trackio.init(
            self._project,
            name=key,
            config=dict(params) if params is not None else None,
            resume=resume,
            embed=False,
            auto_log_cpu=False,
            auto_log_gpu=False,
        )


TRACKIO = TrackerKind("trackio", "PROJECT", TrackioTracker, Library("trackio", "trackio"))
