"""Fixtures for all tests: the scorer's application with the fake engine, reached through ASGI, and its client."""

from __future__ import annotations

import gc
import signal
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx
import hypothesis
import pytest

from icm_client import ScorerClient
from icm_server.config import ScoringConfig
from icm_server.engines.fake import FakeEngine
from icm_server.http.app import create_app

# No test depends on how busy the machine is, and what has passed once passes again; `explore` draws new examples.
hypothesis.settings.register_profile("icm", deadline=None, derandomize=True)
hypothesis.settings.register_profile("explore", deadline=None)
hypothesis.settings.register_profile("hostile", deadline=None, max_examples=10_000)  # contract/test_hostile.py
hypothesis.settings.load_profile("icm")

# A shell without job control starts what it puts into the background with Ctrl-C ignored, and so would be the programs
# that tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

LONGEST_FIRST = ("tests/engine", "tests/contract")
"""Folders whose files take longest: the other workers do the many short ones meanwhile."""


@pytest.hookimpl(tryfirst=True, optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    from tests.workers import ByFile

    return ByFile(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Spares the garbage collector what lives as long as the process: modules and tests, by far the most objects.

    What tests leave behind is looked for every 20,000 objects instead of every 700, which saves 7% of the time:
    Hypothesis does work of its own at each collection.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(20_000, 20, 20)
        gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Puts the files that take longest first, where there are several workers."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: _rank(item.path.relative_to(config.rootpath).as_posix()))


def _rank(file: str) -> int:
    ranks = (rank for rank, folder in enumerate(LONGEST_FIRST) if file.startswith(f"{folder}/"))
    return next(ranks, len(LONGEST_FIRST))


Serving = Callable[..., AbstractAsyncContextManager[ScorerClient]]


@asynccontextmanager
async def fake_scorer(
    *,
    engine: type[FakeEngine] = FakeEngine,
    max_prompts: int = 16_384,
    scoring: ScoringConfig | None = None,
    **engine_settings: Any,
) -> AsyncIterator[ScorerClient]:
    """A client, ready, of an application of its own whose fake engine has these settings."""

    async def make_engine() -> FakeEngine:
        return engine(**engine_settings)

    app = create_app(make_engine, scoring=scoring)
    async with (
        app.router.lifespan_context(app),
        ScorerClient("http://scorer", transport=httpx.ASGITransport(app=app), max_prompts=max_prompts) as client,
    ):
        await app.state.scoring.startup_ended.wait()
        await client.wait_ready(30)
        yield client


@pytest.fixture
def serving() -> Serving:
    """`async with serving(engine=..., max_prompts=..., seed=..., max_prompt_tokens=...) as client`."""
    return fake_scorer


@pytest.fixture
async def scorer() -> AsyncIterator[ScorerClient]:
    """A client of a fake scorer that is ready."""
    async with fake_scorer() as client:
        yield client
