"""Exports a finished run in the formats of tools for training, review and data cleaning."""
