"""Pydantic models of all files of a run. Files are written from their models and validated by them when read."""
