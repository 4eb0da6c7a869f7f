"""Sweeps: many runs described by one file, made beside each other, and compared in one table."""
