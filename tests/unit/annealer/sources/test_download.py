"""Downloads through a proxy: errors name the proxy, without its password."""

from __future__ import annotations

import asyncio

import pytest
from tests.proxy import environment, proxy

from icm_annealer.sources.download import downloaded
from icm_client import RequestError


def download(url: str) -> None:
    with downloaded(url, lambda text: None):
        pass


@pytest.mark.parametrize("is_there", [True, False])
async def test_an_error_names_the_proxy(is_there: bool) -> None:
    """One that refuses, and one where nobody listens by now."""
    async with proxy() as refusing:
        named = refusing.url.replace("//", "//joe:hunter2@")
        if is_there:
            with environment(HTTP_PROXY=named), pytest.raises(RequestError, match="403") as raised:
                await asyncio.to_thread(download, "http://files.example/rows.csv")
    if not is_there:
        with environment(HTTP_PROXY=named), pytest.raises(RequestError, match="cannot be downloaded") as raised:
            download("http://files.example/rows.csv")
    for part in (refusing.url, "HTTP_PROXY", "add files.example to NO_PROXY"):
        assert part in raised.value.message
    assert "hunter2" not in raised.value.message
