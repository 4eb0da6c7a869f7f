"""Runs in MLflow: a server, or a database file."""

from __future__ import annotations

import time
from collections.abc import Mapping

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunStatus, RunTag

EXPERIMENT = "icm"
MAX_PARAM_CHARS = 500
"""What every MLflow store takes."""


class MlflowTracker:
    """See `tracker.Tracker`. Without a URI, where MLflow's own settings say."""

    def __init__(self, uri: str | None):
        self._client = MlflowClient(tracking_uri=uri)
        self._run = ""

    def begin(self, name: str, params: Mapping[str, str]) -> str:
        found = self._client.get_experiment_by_name(EXPERIMENT)
        experiment = found.experiment_id if found else self._client.create_experiment(EXPERIMENT)
        self._run = self._client.create_run(experiment, run_name=name).info.run_id
        params_ = [Param(key, value[:MAX_PARAM_CHARS]) for key, value in params.items()]
        self._client.log_batch(self._run, params=params_)
        return self._run

    def resume(self, key: str) -> None:
        self._run = key
        self._client.set_terminated(key, RunStatus.to_string(RunStatus.RUNNING))

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        now_ms = int(time.time() * 1000)
        self._client.log_batch(self._run, metrics=[Metric(key, value, now_ms, step) for key, value in metrics.items()])

    def end(self, state: str, facts: Mapping[str, str]) -> None:
        self._client.log_batch(self._run, tags=[RunTag(key, value) for key, value in {"state": state, **facts}.items()])
        status = RunStatus.FINISHED if state in ("finished", "failed") else RunStatus.KILLED
        self._client.set_terminated(self._run, RunStatus.to_string(status))
