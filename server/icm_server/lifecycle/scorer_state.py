"""The state of a scorer: loading, then ready, then either draining and stopping, or failed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from icm_client.contract.errors import IcmError, UnavailableError
from icm_client.contract.wire import ScoreRequest
from icm_server.adapters.registry import Adapters
from icm_server.config import AdapterConfig, ScoringConfig
from icm_server.engines.base import Engine, EngineDiedError
from icm_server.scheduling.scoring import ScoringService
from icm_server.stats.history import SAMPLE_EVERY_S

EngineFactory = Callable[[], Awaitable[Engine]]

READY = "ready"
SUCCESSOR_AFTER_S = 5.0
"""Retry-After of a scorer that is stopping: by then another one may have started in its place."""
CHECK_EVERY_S = 2.0
"""How often the engine is checked: without work it does not report a failure itself."""


class ScorerState:
    """State shared by the routes: the scorer once it is loaded, otherwise the reason."""

    def __init__(self) -> None:
        self.scorer: ScoringService | None = None
        self.reason = "the model is loading"
        self.failure: str | None = None
        """Why the process has to exit, if it has failed."""
        self.startup_ended = asyncio.Event()
        """Set when the scorer is ready, or has failed."""
        self.failed = asyncio.Event()
        self.is_draining = False
        """New requests are rejected; running ones continue."""
        self.stopping = asyncio.Event()
        """Set when the process has to exit; running requests are cancelled."""

    def required(self) -> ScoringService:
        """The scorer. Raises UnavailableError with the reason while it accepts no requests."""
        if self.failure is None and (self.is_draining or self.stopping.is_set()):
            raise UnavailableError(
                "draining: the scorer is shutting down", code="draining", retry_after_s=SUCCESSOR_AFTER_S
            )
        if self.scorer is None or self.failure is not None:
            raise UnavailableError(self.reason, code="not_ready")
        if not self.scorer.engine.members.up:
            raise UnavailableError(
                "all engines have ended; they are being started again",
                code="not_ready",
                retry_after_s=SUCCESSOR_AFTER_S,
            )
        return self.scorer

    def status(self) -> str:
        """`ready`, or why it is not."""
        try:
            self.required()
        except UnavailableError as error:
            return error.message
        return READY

    def is_ready(self) -> bool:
        return self.status() == READY

    @property
    def num_under_way(self) -> int:
        """Accepted requests that are not answered."""
        return self.scorer.admission.total.requests if self.scorer is not None else 0

    def fail(self, reason: str) -> None:
        """Marks the scorer as failed; the process has to exit."""
        self.reason, self.failure = reason, reason
        self.startup_ended.set()
        self.failed.set()


async def live(
    state: ScorerState,
    make_engine: EngineFactory,
    scoring: ScoringConfig | None,
    adapters: AdapterConfig | None = None,
) -> None:
    """Loads the engine and its adapters, tries it, and monitors it from then on. Cancel it before the scorer is
    closed."""
    await _load(state, make_engine, scoring or ScoringConfig(), adapters or AdapterConfig())
    if state.scorer is not None:
        await asyncio.gather(_watch_engine(state, state.scorer.engine), _keep_history(state.scorer))


def first_request() -> ScoreRequest:
    """A request that is never answered from the read cache nor stored in it; every tokenizer with words has its
    labels."""
    return ScoreRequest(prompts=[f"At {time.time_ns()} the sky is"], labels=[" True", " False"], fresh=True)


async def _load(
    state: ScorerState, make_engine: EngineFactory, scoring: ScoringConfig, adapters: AdapterConfig
) -> None:
    try:
        engine = await make_engine()
    except Exception as error:  # the process cannot serve, whatever the error; the command line reports it and exits
        state.fail(_message(error))
        return
    try:
        loaded = await Adapters.open(engine.adapters, adapters, has_keys=scoring.has_keys)
    except BaseException as error:
        await engine.close()
        if not isinstance(error, Exception):
            raise
        state.fail(_message(error))
        return
    scorer = ScoringService(engine, scoring, adapters=loaded)
    state.reason = "the model is loaded; the first read is running"
    watching = asyncio.create_task(_watch_engine(state, engine))  # an engine may hang in its first read
    try:
        await scorer.score(first_request())
    except BaseException as error:
        await scorer.close()
        if not isinstance(error, Exception):
            raise
        state.fail(f"the model is loaded, but its first read failed: {_message(error)}")
        return
    finally:
        watching.cancel()
    scorer.forget_counts()
    state.scorer = scorer
    state.startup_ended.set()


async def _watch_engine(state: ScorerState, engine: Engine) -> None:
    """Returns when the engine has died."""
    while True:
        try:
            await engine.check()
        except EngineDiedError as error:
            state.fail(f"the engine died: {error}")
            return
        await asyncio.sleep(CHECK_EVERY_S)


async def _keep_history(scorer: ScoringService) -> None:
    while True:
        await asyncio.sleep(SAMPLE_EVERY_S)
        scorer.history.take()


def _message(error: Exception) -> str:
    return error.message if isinstance(error, IcmError) else f"{type(error).__name__}: {error}"
