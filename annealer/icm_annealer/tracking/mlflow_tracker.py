"""Runs in MLflow: a server, or a database file."""

from __future__ import annotations

import time
from collections.abc import Mapping

from icm_annealer.core.library import Library
from icm_annealer.tracking.base import TrackerKind

EXPERIMENT = "icm"
MAX_PARAM_CHARS = 500
"""What every MLflow store takes."""


class MlflowTracker:
    """See `base.Tracker`. Without a URI, MLflow's own settings apply."""

    def __init__(self, uri: str | None):
        from mlflow import MlflowClient, entities  # in the tracker's process alone

        self._client = MlflowClient(tracking_uri=uri)
        self._entities = entities
        self._run = ""

    def begin(self, name: str, params: Mapping[str, str]) -> str:
        found = self._client.get_experiment_by_name(EXPERIMENT)
        experiment = found.experiment_id if found else self._client.create_experiment(EXPERIMENT)
        self._run = self._client.create_run(experiment, run_name=name).info.run_id
        params_ = [self._entities.Param(key, value[:MAX_PARAM_CHARS]) for key, value in params.items()]
        self._client.log_batch(self._run, params=params_)
        return self._run

    def resume(self, key: str) -> None:
        self._run = key
        self._client.set_terminated(key, self._entities.RunStatus.to_string(self._entities.RunStatus.RUNNING))

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        now_ms = int(time.time() * 1000)
        values = [self._entities.Metric(key, value, now_ms, step) for key, value in metrics.items()]
        self._client.log_batch(self._run, metrics=values)

    def end(self, state: str, facts: Mapping[str, str]) -> None:
        tags = [self._entities.RunTag(key, value) for key, value in {"state": state, **facts}.items()]
        self._client.log_batch(self._run, tags=tags)
        status = self._entities.RunStatus
        ended = status.FINISHED if state in ("finished", "warned") else status.KILLED
        self._client.set_terminated(self._run, status.to_string(ended))


MLFLOW = TrackerKind("mlflow", "URI", MlflowTracker, Library("mlflow", "mlflow"))
