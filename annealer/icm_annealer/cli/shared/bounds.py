"""The highest values of number options that have no closer limit of their own. A leaf.

They are far above what makes sense, so that a mistyped number is an error of one line and not an overflow in a library.
"""

from __future__ import annotations

MAX_COUNT = 1_000_000_000
"""Rows, examples, shots, characters, ..."""
MAX_TOKENS = 10**15
"""Of a budget."""
MAX_AMOUNT = 1e9
"""Money, rates, minutes, margins in nats."""
