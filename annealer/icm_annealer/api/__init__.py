"""The Python API: label data from a script or a notebook. The command line calls the same functions."""
