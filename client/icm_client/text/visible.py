"""Text from outside as people are shown it. A leaf.

Labels, paths, messages of other programs: whoever wrote them may have put terminal commands into them (`ESC ] 0 ;`
changes a window's title, others write into what was printed before), or signs that turn the order of reading round.
"""

from __future__ import annotations

import sys
import unicodedata


def _escape(code: int) -> str:
    short = {0x08: "\\b", 0x09: "\\t", 0x0A: "\\n", 0x0C: "\\f", 0x0D: "\\r"}
    return short.get(code, f"\\u{code:04x}")


_BIDI = {0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)}
"""Signs that change the direction in which what follows is shown."""
_LINE = {
    code: _escape(code)
    for code in range(min(sys.maxunicode, 0xFFFF) + 1)
    if code in _BIDI or unicodedata.category(chr(code)) in ("Cc", "Cs", "Zl", "Zp")
}
_LINES = {code: escape for code, escape in _LINE.items() if code not in (0x09, 0x0A)}


def visible(text: str, *, lines: bool = False) -> str:
    """`text` in one line, with `\\u001b` for a control character (C0, C1, DEL), for a bidirectional sign and for half a
    surrogate pair, as JSON writes them: what was JSON still is, and stands for the same.

    With `lines`, line breaks and tabs are kept.
    """
    return text.translate(_LINES if lines else _LINE)
