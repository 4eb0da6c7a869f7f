"""Adapters that offer a scorer as a model of third-party evaluation programs. Each module needs its program
installed."""
