"""Plots as data objects, drawn with matplotlib into pages and files."""
