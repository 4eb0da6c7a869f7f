"""Where a scorer says that it is."""

from __future__ import annotations

import pytest

from icm_server.cli.serve import url_at


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("0.0.0.0", "http://127.0.0.1:8000"),
        ("::", "http://[::1]:8000"),
        ("::1", "http://[::1]:8000"),
        ("fd00::2", "http://[fd00::2]:8000"),
        ("gpu-box", "http://gpu-box:8000"),
    ],
)
def test_what_it_says_can_be_called(host: str, url: str) -> None:
    assert url_at(host, 8000) == url
