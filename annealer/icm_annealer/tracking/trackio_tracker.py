"""Runs in Trackio: files on this machine, shown by `trackio show`."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

import trackio

PROJECT = "icm"


class TrackioTracker:
    """See `tracker.Tracker`. What is no number at a run's end is one of its last step's values."""

    def __init__(self, project: str | None):
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
        trackio.log(dict(metrics), step=step)

    def end(self, state: str, facts: Mapping[str, str]) -> None:
        trackio.log({"state": state, **facts}, step=self._step)
        trackio.finish()

    def _init(self, key: str, resume: str, params: Mapping[str, str] | None) -> None:
        trackio.init(
            self._project,
            name=key,
            config=dict(params) if params is not None else None,
            resume=resume,
            embed=False,
            auto_log_cpu=False,
            auto_log_gpu=False,
        )
