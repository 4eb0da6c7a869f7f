"""Runs shown in MLflow or Trackio: by a process of its own, which reads the run's files and cannot disturb the run."""
