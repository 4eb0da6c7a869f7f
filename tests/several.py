"""Several scorers with the fake engine behind one client, one of which can go."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import httpx

from icm_client import ScorerClient
from icm_server.engines.fake import FakeEngine
from icm_server.http.app import create_app


class Half(httpx.AsyncByteStream):
    """The first half of an answer, after which the connection breaks."""

    def __init__(self, content: bytes):
        self._content = content

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._content[: len(self._content) // 2]
        raise httpx.ReadError("connection reset")


class Scorers(httpx.AsyncBaseTransport):
    """Applications with the fake engine, by host; one goes while it answers its request number `last`."""

    def __init__(self, apps: dict[str, httpx.ASGITransport], gone: str = "", last: int = 0):
        self._apps, self._gone, self._last = apps, gone, last
        self.prompts: Counter[str] = Counter()
        """That were sent to each host."""
        self.requests: list[tuple[str, list[str]]] = []
        """The host and the texts of each."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        host, num = request.url.host, sum(asked == request.url.host for asked, _ in self.requests)
        if host == self._gone and num >= self._last:
            raise httpx.ConnectError("refused")
        if request.url.path != "/v1/score":
            return await self._apps[host].handle_async_request(request)
        sent = json.loads(await request.aread())
        self.prompts[host] += len(sent["prompts"])
        self.requests.append((host, sent["segments"]))
        answer = await self._apps[host].handle_async_request(request)
        if host == self._gone and num + 1 == self._last:
            content = b"".join([part async for part in answer.aiter_raw()])
            return httpx.Response(answer.status_code, headers=answer.headers, stream=Half(content))
        return answer


@asynccontextmanager
async def several(hosts: str, gone: str = "", last: int = 0) -> AsyncIterator[tuple[ScorerClient, Scorers]]:
    """A client of one scorer for each letter."""

    async def make_engine() -> FakeEngine:
        return FakeEngine()

    async with AsyncExitStack() as stack:
        apps = {host: create_app(make_engine) for host in hosts}
        for app in apps.values():
            await stack.enter_async_context(app.router.lifespan_context(app))
            await app.state.scoring.startup_ended.wait()
        scorers = Scorers({host: httpx.ASGITransport(app=app) for host, app in apps.items()}, gone, last)
        urls = ",".join(f"http://{host}" for host in hosts)
        client = await stack.enter_async_context(ScorerClient(urls, transport=scorers))
        yield client, scorers
