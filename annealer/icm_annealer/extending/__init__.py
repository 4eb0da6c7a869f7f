"""The labels of a finished run, its core, extended to any number of further rows: one streamed pass, and its checks."""
