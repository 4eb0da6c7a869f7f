"""A scorer at a real address."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.http_app import running

from icm_client import SyncScorerClient
from icm_server.engines.fake import FakeEngine
from icm_server.http.app import create_app


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    async def make_engine() -> FakeEngine:
        return FakeEngine()

    with running(create_app(make_engine)) as address:
        with SyncScorerClient(address) as client:
            client.wait_ready(30)
        yield address
