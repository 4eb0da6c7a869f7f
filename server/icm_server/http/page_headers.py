"""The headers of a page without external resources. A leaf."""

from __future__ import annotations

import base64
import hashlib


def page_headers(page: str) -> dict[str, str]:
    """For an HTML page with at most one style and one script, each in a tag without attributes; nothing else may
    run."""
    script = f"script-src {_digest(page, 'script')}; connect-src 'self'; " if "<script>" in page else ""
    return {
        "Content-Security-Policy": f"default-src 'none'; img-src data:; {script}style-src {_digest(page, 'style')}; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        "Cache-Control": "no-cache",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }


def _digest(page: str, tag: str) -> str:
    """The hash by which a policy allows the page's own script or style."""
    inside = page.partition(f"<{tag}>")[2].partition(f"</{tag}>")[0]
    return f"'sha256-{base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()}'"
