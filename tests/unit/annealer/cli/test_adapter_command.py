"""`icm adapter` waits for a scorer that starts, and works on all of several."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest
from fastapi import FastAPI, Request, Response
from starlette.middleware.base import RequestResponseEndpoint
from tests.adapter_files import save_adapter
from tests.http_app import running
from tests.icm_command import Icm, check_refused

from icm_server.config import AdapterConfig
from icm_server.engines.fake import FakeEngine
from icm_server.http.app import create_app

NOBODY = "http://127.0.0.1:9"


def starting_when_asked(store: Path) -> FastAPI:
    """A scorer that starts its engine when it has said for the first time that it has not."""
    asked = threading.Event()

    async def make_engine() -> FakeEngine:
        await asyncio.to_thread(asked.wait)
        return FakeEngine()

    async def answered(request: Request, handle: RequestResponseEndpoint) -> Response:
        try:
            return await handle(request)
        finally:
            asked.set()

    app = create_app(make_engine, adapters=AdapterConfig(store=store))
    app.middleware("http")(answered)
    return app


@pytest.fixture
def icm(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Icm:
    return Icm(monkeypatch, capsys)


def test_adapters_are_put_on_all_scorers_once_these_have_started(icm: Icm, tmp_path: Path) -> None:
    folder = save_adapter(tmp_path / "topics", 1)

    first, second = (starting_when_asked(tmp_path / name) for name in ("a", "b"))
    with running(first) as a, running(second) as b:
        put = icm("adapter", "put", "topics", folder, "--scorer", f"{a},{b}")
        assert put.code == 0, put
        assert put.err.count("waiting for the scorer: ") == 1
        for url in (a, b):
            assert "topics" in icm("adapter", "list", "--scorer", url).out
        gone = icm("adapter", "delete", "topics", "--scorer", f"{a},{NOBODY}", "--wait", 0)
        assert gone.code == 1
        assert f"note: {NOBODY} is not used until it is ready" in gone.err
        assert f"(done on {a}; the same call again does the rest)" in gone.err
        assert icm("adapter", "delete", "topics", "--scorer", f"{a},{b}").code == 0
        assert "no adapters" in icm("adapter", "list", "--scorer", b).err
    check_refused(icm("adapter", "list", "--scorer", NOBODY, "--wait", 0), 1, "no scorer was ready at")
