"""Sends runs to MLflow or Trackio from a separate process, which reads the run's files and cannot disturb the run."""
