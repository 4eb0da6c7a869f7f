"""Plots by matplotlib: what they show is data, which pages and files are drawn from."""
