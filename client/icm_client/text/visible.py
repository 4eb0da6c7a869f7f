"""Escapes external text for display. A leaf.

Labels, paths and messages of other programs may contain terminal commands (`ESC ] 0 ;` changes a window's title, others
overwrite earlier output) or characters that reverse the reading order.
"""

from __future__ import annotations


def _escape(code: int) -> str:
    short = {0x08: "\\b", 0x09: "\\t", 0x0A: "\\n", 0x0C: "\\f", 0x0D: "\\r"}
    return short.get(code, f"\\u{code:04x}")


_BIDI = {0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)}
"""Characters that change the direction of the text after them."""
_CONTROL = {*range(0x20), *range(0x7F, 0xA0)}
_BREAKS = {0x2028, 0x2029}
_SURROGATES = range(0xD800, 0xE000)
_LINE = {code: _escape(code) for code in sorted({*_CONTROL, *_BIDI, *_BREAKS, *_SURROGATES})}
_LINES = {code: escape for code, escape in _LINE.items() if code not in (0x09, 0x0A)}


def visible(text: str, *, lines: bool = False) -> str:
    """`text` in one line, with control characters (C0, C1, DEL), bidirectional controls and lone surrogates escaped
    as in JSON (`\\u001b`). So JSON stays valid and keeps its meaning.

    With `lines`, line breaks and tabs are kept.
    """
    return text.translate(_LINES if lines else _LINE)
