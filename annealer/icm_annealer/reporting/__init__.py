"""Runs as tables, plots and pages for people."""
