"""What is escaped before a text is shown: what Unicode says is a control, a break or half a character, no more."""

from __future__ import annotations

import unicodedata

from icm_client.text.visible import visible


def test_controls_breaks_and_surrogates_are_escaped_and_nothing_else() -> None:
    escaped = {chr(code) for code in range(0x11000) if visible(chr(code)) != chr(code)}
    by_category = {chr(code) for code in range(0x11000) if unicodedata.category(chr(code)) in ("Cc", "Cs", "Zl", "Zp")}
    bidirectional = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
    assert escaped == by_category | bidirectional
    assert visible("a\nb\t\x1b[0m", lines=True) == "a\nb\t\\u001b[0m"
