"""Whatever tenants put, delete and ask meanwhile, each gets the numbers of its own adapter."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.adapter_files import save_adapter

from icm_client.contract.errors import AccessError, RequestError
from icm_client.contract.wire import ScoreRequest
from icm_server.adapters.registry import Adapters
from icm_server.auth.tenant import Tenant
from icm_server.config import AdapterConfig, AdapterLimits
from icm_server.engines.base import ReadAnswer
from icm_server.engines.fake import FakeEngine
from icm_server.scheduling.answers import Answers
from icm_server.scheduling.scoring import ScoringService

LABELS = [" living", " object"]
PROMPTS = ["Word: salmon\nGroup:", "Word: cup\nGroup:", "Word: eel\nGroup:"]
CONTENTS, NAMES = 2, ("x",)
TENANTS = (Tenant(name="alice"), Tenant(name="bob", isolated=True), Tenant(name="carol", admin=True))
Rows = dict[int, list[float]]

PUT = st.tuples(st.just("put"), st.integers(0, 2), st.sampled_from(NAMES), st.integers(0, CONTENTS - 1), st.booleans())
DELETE = st.tuples(st.just("delete"), st.integers(0, 2), st.sampled_from(NAMES), st.just(0), st.booleans())
ASK = st.tuples(st.just("ask"), st.integers(0, 2), st.sampled_from(NAMES), st.just(0), st.booleans())
END = st.tuples(st.just("end"), st.integers(0, 5), st.just(""), st.just(0), st.booleans())
Step = tuple[str, int, str, int, bool]
REPLACED: list[Step] = [
    *(("put", 0, "x", 0, False), ("ask", 0, "x", 0, False), ("end", 0, "", 0, False)),
    *(("put", 0, "x", 1, False), ("ask", 0, "x", 0, False), ("end", 0, "", 0, False)),
]


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("contents")
    return [save_adapter(folder / str(number), number) for number in range(CONTENTS)]


class GatedEngine(FakeEngine):
    """Its reads wait for the gate, so that adapters come and go meanwhile."""

    def __init__(self) -> None:
        super().__init__(max_concurrent_reads=2)
        self.gate = asyncio.Event()

    async def read(self, token_ids: list[int], target_ids: Sequence[int], model: str, *rest: Any) -> ReadAnswer:
        await self.gate.wait()
        return await super().read(token_ids, target_ids, model, *rest)


async def rows_of(answers: Answers) -> Rows:
    found: Rows = {}
    try:
        async for batch in answers.batches():
            found |= dict(zip(batch.prompts, batch.logprobs, strict=True))
    finally:
        answers.close()
    return found


async def expected_of(folder: Path) -> Rows:
    """What a scorer answers that never had another adapter."""
    engine = FakeEngine()
    adapters = await Adapters.open(engine.adapters, AdapterConfig(given={"x": str(folder)}))
    scorer = ScoringService(engine, adapters=adapters)
    return dict(enumerate((await scorer.score(ScoreRequest(prompts=PROMPTS, labels=LABELS, model="x"))).logprobs))


async def run(steps: list[Step], contents: list[Path], store: Path) -> None:
    numbers = [await expected_of(folder) for folder in contents]
    assert numbers[0] != numbers[1]
    engine = GatedEngine()
    config = AdapterConfig(store=store, folders=contents[0].parent, limits=AdapterLimits(max_adapters=500))
    adapters = await Adapters.open(engine.adapters, config, has_keys=True)
    scorer = ScoringService(engine, adapters=adapters)
    served: dict[tuple[str | None, str], int] = {}
    open_: list[tuple[int, Answers]] = []

    async def end(number: int) -> None:
        content, answers = open_.pop(number % len(open_))
        engine.gate.set()
        assert await rows_of(answers) == numbers[content]
        engine.gate.clear()

    for kind, whose, name, content, flag in steps:
        tenant = TENANTS[whose % len(TENANTS)]
        owner = None if flag and tenant.admin else tenant.name
        try:
            if kind == "put":
                async with adapters.arriving(name, tenant, shared=owner is None) as arrival:
                    await adapters.copy(arrival, str(content))
                    await adapters.put(name, tenant, arrival, shared=owner is None)
                served[owner, name] = content
            elif kind == "delete":
                await adapters.delete(name, tenant, shared=owner is None)
                del served[owner, name]
            elif kind == "ask":
                request = ScoreRequest(prompts=PROMPTS, labels=LABELS, model=name, fresh=flag)
                expected = served.get((tenant.name, name), served.get((None, name)))
                answers = await scorer.begin(request, tenant)
                assert expected is not None
                open_.append((expected, answers))
            elif open_:
                await end(whose)
        except (RequestError, AccessError) as error:
            refused = (kind, error.code)
        else:
            continue
        others = {(None, name)} & served.keys()
        reasons = {
            ("put", "name_taken"): bool(others),
            ("ask", "unknown_model"): not others and (tenant.name, name) not in served,
            ("delete", "unknown_adapter"): (owner, name) not in served,
        }
        assert reasons[refused]
    while open_:
        await end(0)
    while adapters._leaving:
        await asyncio.gather(*adapters._leaving)
    assert len(engine.adapters._seeds) == 1 + len(served)
    assert adapters.num_bytes == sum(version.checked.num_bytes for version in adapters.names.versions.values())
    assert len(list(store.iterdir())) == 1 + len(served)
    await scorer.close()


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@example(steps=REPLACED)
@given(steps=st.lists(PUT | DELETE | ASK | END, min_size=10, max_size=40))
def test_interleaved_work_of_several_tenants(contents: list[Path], steps: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(steps, contents, Path(folder) / "store"))
