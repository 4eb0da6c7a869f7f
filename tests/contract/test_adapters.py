"""Adapters over HTTP, with the fake engine: each key its own, each content its own numbers, whatever comes and goes."""

from __future__ import annotations

import asyncio
import io
import json
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from fastapi import FastAPI
from tests.adapter_files import config, safetensors, save_adapter, weights, with_header
from tests.http_app import running
from typer.testing import CliRunner

from icm_annealer.cli.app import app as icm
from icm_client import AccessError, RequestError, ScorerClient, ScoreRequest, ScorerError, SyncScorerClient
from icm_client.contract.adapters import CONFIG_FILE, WEIGHTS_FILE, AdapterList
from icm_client.contract.wire import ErrorAnswer
from icm_server.auth.keyring import Keyring
from icm_server.auth.keys_file import add_key
from icm_server.config import AdapterConfig, AdapterLimits, ScoringConfig
from icm_server.engines.fake import FakeEngine
from icm_server.http.app import create_app

REQUEST = ScoreRequest(prompts=["Word: salmon\nGroup:", "Word: cup\nGroup:"], labels=[" living", " object"])


class Running(NamedTuple):
    app: FastAPI
    alice: ScorerClient
    bob: ScorerClient
    carol: ScorerClient
    """An admin."""


@asynccontextmanager
async def started(folder: Path, engine: FakeEngine | None = None, **fields: Any) -> AsyncIterator[Running]:
    """A scorer with a store below `folder`; it may be started again."""
    keys = folder / "keys.yaml"
    if not keys.exists():
        for name, settings in (("alice", {}), ("bob", {"adapters": ("for-*",)}), ("carol", {"admin": True})):
            (folder / f"{name}.key").write_text(add_key(keys, name, **settings))

    async def make_engine() -> FakeEngine:
        return engine or FakeEngine()

    adapters = AdapterConfig(store=folder / "store", **fields)
    app = create_app(make_engine, keyring=Keyring(keys), adapters=adapters, scoring=ScoringConfig())
    transport = httpx.ASGITransport(app=app)
    async with app.router.lifespan_context(app):
        await app.state.scoring.startup_ended.wait()
        assert app.state.scoring.failure is None
        clients = [
            ScorerClient("http://scorer", api_key=(folder / f"{name}.key").read_text(), transport=transport)
            for name in ("alice", "bob", "carol")
        ]
        yield Running(app, *clients)
        for client in clients:
            await client.close()


async def numbers(client: ScorerClient, model: str = "base") -> list[list[float]]:
    return (await client.score(REQUEST.model_copy(update={"model": model}))).logprobs


async def refused(work: Any) -> tuple[int, str]:
    with pytest.raises((RequestError, AccessError)) as raised:
        await work
    assert "\n" not in raised.value.message
    return raised.value.status, raised.value.code


async def test_each_content_has_numbers_of_its_own_and_no_other_s_cached_ones(tmp_path: Path) -> None:
    one, two = save_adapter(tmp_path / "one", 1), save_adapter(tmp_path / "two", 2)
    async with started(tmp_path) as (app, alice, *_):
        base = await numbers(alice)
        info = await alice.put_adapter("mine", one)
        assert (info.name, info.rank, info.num_modules, info.shared, info.fixed) == ("mine", 2, 6, False, False)
        first = await numbers(alice, "mine")
        assert (await alice.put_adapter("mine", one)).digest == info.digest  # nothing changes
        model = (await alice.score(REQUEST.model_copy(update={"model": "mine"}))).model
        assert model.adapters == {"mine": info.digest}
        assert model.digest not in ((await alice.model()).digest, info.digest)
        replaced = await alice.put_adapter("mine", two)
        answer = await alice.score(REQUEST.model_copy(update={"model": "mine"}))
        assert answer.usage.read_cache_prompts == answer.usage.cached_tokens == 0
        assert answer.model.digest != model.digest
        assert len({str(rows) for rows in (base, first, answer.logprobs)}) == 3
        await alice.put_adapter("again", one)
        again = await alice.score(REQUEST.model_copy(update={"model": "again"}))
        assert (again.logprobs, again.usage.read_cache_prompts) == (first, 2)  # the same content, already read
        assert [(each.name, each.reads) for each in (await alice.adapters()).adapters] == [("again", 0), ("mine", 2)]
        assert (await alice.delete_adapter("mine")).digest == replaced.digest
        assert await refused(numbers(alice, "mine")) == (422, "unknown_model")
        assert await refused(alice.delete_adapter("mine")) == (404, "unknown_adapter")
        await asyncio.sleep(0.05)
        assert len(app.state.scoring.scorer.engine.adapters._seeds) == 2  # the base, and the one that is left


async def test_a_key_s_adapters_are_its_own(tmp_path: Path) -> None:
    given = {"for-all": str(save_adapter(tmp_path / "given", 9)), "secret": str(save_adapter(tmp_path / "given2", 8))}
    mine, other = save_adapter(tmp_path / "one", 1), save_adapter(tmp_path / "two", 2)
    async with started(tmp_path, given=given) as (app, alice, bob, carol):
        await alice.put_adapter("x", mine)
        await bob.put_adapter("x", other)
        assert await numbers(alice, "x") != await numbers(bob, "x")
        await alice.put_adapter("y", mine)
        assert await refused(numbers(bob, "y")) == (403, "not_your_model")
        assert await refused(bob.delete_adapter("y")) == (404, "unknown_adapter")
        assert [each.name for each in (await bob.adapters()).adapters] == ["for-all", "x"]
        assert sorted((await alice.model()).adapters) == ["for-all", "secret", "x", "y"]
        # For all keys: by an admin, and by the patterns of each key.
        assert await refused(alice.put_adapter("for-us", mine, shared=True)) == (403, "not_admin")
        await carol.put_adapter("for-us", mine, shared=True)
        assert await numbers(bob, "for-us") == await numbers(alice, "x")
        assert await refused(alice.put_adapter("for-us", other)) == (409, "name_taken")
        assert await refused(carol.put_adapter("for-all", other, shared=True)) == (409, "name_taken")
        assert await refused(carol.delete_adapter("for-all", shared=True)) == (409, "fixed_adapter")
        assert await refused(alice.delete_adapter("for-us")) == (404, "unknown_adapter")
        # What a key may not use, it may not find out either.
        await bob.put_adapter("secret", other)
        assert await numbers(bob, "secret") == await numbers(bob, "x")
        await carol.put_adapter("for-us", other, shared=True)
        assert await numbers(bob, "for-us") == await numbers(bob, "x")
        await carol.delete_adapter("for-us", shared=True)
        assert await refused(numbers(bob, "for-us")) == (422, "unknown_model")
        metrics = [(await app_get(app, key, tmp_path)).text for key in ("alice", "carol")]
        assert 'icm_adapter_reads_total{adapter="x",tenant="alice"} 2.0' in metrics[0]
        assert 'tenant="bob"' not in metrics[0]
        assert 'icm_adapter_reads_total{adapter="x",tenant="bob"} ' in metrics[1]
        assert "icm_adapters 6.0" in metrics[1]


async def app_get(app: FastAPI, key: str, folder: Path) -> httpx.Response:
    headers = {"Authorization": f"Bearer {(folder / f'{key}.key').read_text()}"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://scorer") as http:
        return await http.get("/metrics", headers=headers)


async def test_a_request_ends_with_the_adapter_with_which_it_began(tmp_path: Path) -> None:
    one, two = save_adapter(tmp_path / "one", 1), save_adapter(tmp_path / "two", 2)
    async with started(tmp_path, FakeEngine(delay_s=0.02, max_concurrent_reads=2)) as (app, alice, *_):
        await alice.put_adapter("mine", one)
        prompts = [f"Word: {number}\nGroup:" for number in range(12)]
        request = ScoreRequest(prompts=prompts, labels=REQUEST.labels, model="mine", fresh=True)
        expected = (await alice.score(request)).logprobs
        for change in (alice.put_adapter("mine", two), alice.delete_adapter("mine")):
            runs = asyncio.create_task(alice.score(request))
            while not app.state.scoring.scorer.dispatcher.num_reads:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
            before = len(app.state.scoring.scorer.engine.adapters._seeds)
            await change
            assert not runs.done()
            assert (await runs).logprobs == expected
            assert before == 2
            expected = (await alice.score(request)).logprobs if (await alice.adapters()).adapters else []
        await asyncio.sleep(0.05)
        assert app.state.scoring.scorer.adapters.num_bytes == 0
        assert [path.name for path in (tmp_path / "store").iterdir()] == [".icm-adapters"]


async def test_parts_of_one_request_are_not_answered_by_two_adapters(tmp_path: Path) -> None:
    async with started(tmp_path, FakeEngine(delay_s=0.02)) as (_, alice, *_):
        await alice.put_adapter("mine", save_adapter(tmp_path / "one", 1))
        alice._max_prompts = 1
        prompts = [f"Word: {number}\nGroup:" for number in range(20)]
        runs = asyncio.create_task(alice.score(prompts=prompts, labels=[" living", " object"], model="mine"))
        await asyncio.sleep(0.05)
        await alice.put_adapter("mine", save_adapter(tmp_path / "two", 2))
        with pytest.raises(ScorerError, match="changed its model") as raised:
            await runs
        assert raised.value.code == "model_changed"


async def test_what_was_put_is_there_after_a_restart(tmp_path: Path) -> None:
    async with started(tmp_path) as (_, alice, bob, carol):
        await alice.put_adapter("a", save_adapter(tmp_path / "one", 1))
        await bob.put_adapter("damaged", save_adapter(tmp_path / "two", 2))
        await carol.put_adapter("for-all", save_adapter(tmp_path / "three", 3), shared=True)
        expected = await numbers(alice, "a")
    for entry in (tmp_path / "store").glob("*/entry.json"):
        if json.loads(entry.read_text())["name"] == "damaged":
            (entry.parent / WEIGHTS_FILE).write_bytes(safetensors(weights(7)))
    async with started(tmp_path) as (_, alice, bob, _):
        assert await numbers(alice, "a") == expected
        assert [each.name for each in (await bob.adapters()).adapters] == ["for-all"]
        await bob.put_adapter("damaged", save_adapter(tmp_path / "four", 4))
    assert len(list((tmp_path / "store").glob("*/entry.json"))) == 3


async def test_a_key_has_as_many_as_it_leaves_free(tmp_path: Path) -> None:
    limits = AdapterLimits(max_adapters=4, max_adapter_mb=1, max_adapters_mb=1)
    folder = save_adapter(tmp_path / "one")
    async with started(tmp_path, limits=limits) as (_, alice, bob, _):
        for name in ("a", "b"):
            await alice.put_adapter(name, folder)
        with pytest.raises(RequestError, match="no room for this adapter: all keys together have 2 adapters") as raised:
            await alice.put_adapter("c", folder)
        assert (raised.value.status, raised.value.code) == (409, "adapters_full")
        await bob.put_adapter("a", folder)
        await alice.delete_adapter("a")
        await asyncio.sleep(0.05)
        (folder / WEIGHTS_FILE).write_bytes(b"\0" * 600_000)
        assert await refused(alice.put_adapter("c", folder)) == (409, "adapters_full")  # half of 1 MB, alone
        (folder / WEIGHTS_FILE).write_bytes(b"\0" * 2_000_000)
        assert (await refused(alice.put_adapter("c", folder)))[0] in (409, 413)
        assert len(list((tmp_path / "store").iterdir())) == 3


async def test_folders_of_the_scorer(tmp_path: Path) -> None:
    save_adapter(tmp_path / "adapters/alice/one", 1)
    async with started(tmp_path, folders=tmp_path / "adapters") as (_, alice, *_):
        info = await alice.put_adapter("a", server_folder="alice/one")
        assert (await alice.put_adapter("b", tmp_path / "adapters/alice/one")).digest == info.digest
        for folder in ("..", "/etc", "alice/../../store/1", "none"):
            assert await refused(alice.put_adapter("c", server_folder=folder)) == (422, "no_adapter_folder")
    async with started(tmp_path) as (_, alice, *_):
        with pytest.raises(RequestError, match="--adapter-dir FOLDER"):
            await alice.put_adapter("c", server_folder="alice/one")
        with pytest.raises(RequestError, match="either folder or server_folder"):
            await alice.put_adapter("c")
        (tmp_path / "adapters/alice/one" / WEIGHTS_FILE).rename(tmp_path / "adapters/alice/one/adapter_model.bin")
        with pytest.raises(RequestError, match="a pickle can run code"):
            await alice.put_adapter("c", tmp_path / "adapters/alice/one")


BOUNDARY = "b0undary"
GOOD_PARTS = {CONFIG_FILE: json.dumps(config()).encode(), WEIGHTS_FILE: safetensors(weights())}


def form(parts: dict[str, bytes] | list[tuple[str, bytes]], end: str = f"--{BOUNDARY}--\r\n") -> bytes:
    pairs = parts if isinstance(parts, list) else list(parts.items())
    pieces = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'.encode() + content + b"\r\n"
        for name, content in pairs
    ]
    return b"".join(pieces) + end.encode()


def bomb() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../adapter_model.safetensors", b"\0" * 10**7)
    return file.getvalue()


FORM = f"multipart/form-data; boundary={BOUNDARY}"
HOSTILE: dict[str, tuple[str, bytes, tuple[int, str]]] = {
    "an archive": ("application/zip", bomb(), (415, "unsupported_media_type")),
    "no type": ("", b"x", (415, "unsupported_media_type")),
    "no boundary": ("multipart/form-data", form(GOOD_PARTS), (400, "bad_form")),
    "an endless boundary": (f"multipart/form-data; boundary={'b' * 5000}", b"", (400, "bad_form")),
    "another boundary": ("multipart/form-data; boundary=other", form(GOOD_PARTS), (400, "bad_form")),
    "no end": (FORM, form(GOOD_PARTS, end=""), (400, "bad_form")),
    "nothing": (FORM, b"", (400, "bad_form")),
    "no parts": (FORM, form({}), (422, "bad_adapter")),
    "one part": (FORM, form({CONFIG_FILE: GOOD_PARTS[CONFIG_FILE]}), (422, "bad_adapter")),
    "a part twice": (FORM, form([*GOOD_PARTS.items(), *GOOD_PARTS.items()]), (422, "bad_adapter")),
    "a pickle beside": (FORM, form(GOOD_PARTS | {"adapter_model.bin": b"\x80\x04."}), (422, "bad_adapter")),
    "another place": (FORM, form(GOOD_PARTS | {f"../{CONFIG_FILE}": b"{}"}), (422, "bad_adapter")),
    "no name": (FORM, f"--{BOUNDARY}\r\nX: y\r\n\r\nz\r\n--{BOUNDARY}--".encode(), (422, "bad_adapter")),
    "an endless header": (FORM, f"--{BOUNDARY}\r\nX: {'y' * 10**5}".encode(), (400, "bad_form")),
    "a pickle as weights": (FORM, form(GOOD_PARTS | {WEIGHTS_FILE: b"\x80\x04."}), (422, "bad_adapter")),
    "a huge header": (FORM, form(GOOD_PARTS | {WEIGHTS_FILE: b"\xff" * 64}), (422, "bad_adapter")),
    "a long header": (FORM, form(GOOD_PARTS | {WEIGHTS_FILE: with_header(b" " * 2**23)}), (422, "bad_adapter")),
    "a large adapter": (FORM, form({WEIGHTS_FILE: b"\0" * 2**25}), (413, "adapter_too_large")),
    "deep JSON": (FORM, form(GOOD_PARTS | {CONFIG_FILE: b"[" * 10**5}), (422, "bad_adapter")),
    "a large configuration": (FORM, form(GOOD_PARTS | {CONFIG_FILE: b" " * 10**6}), (422, "bad_adapter")),
    "a folder that is none": ("application/json", b'{"folder": 3}', (422, "invalid_request")),
    "no JSON": ("application/json", b"{", (422, "invalid_request")),
    "a large folder": ("application/json", b" " * 2**20, (413, "body_too_large")),
}


async def test_hostile_uploads_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    limits = AdapterLimits(max_adapter_mb=16)
    async with started(tmp_path, limits=limits) as (app, alice, *_):
        key = {"Authorization": f"Bearer {(tmp_path / 'alice.key').read_text()}"}
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://scorer", headers=key) as http:
            for what, (kind, content, expected) in HOSTILE.items():
                answer = await http.put("/v1/adapters/x", content=content, headers={"Content-Type": kind})
                error = ErrorAnswer.model_validate_json(answer.content).error
                assert (answer.status_code, error.code) == expected, (what, error)
                assert len(answer.content) < 2000
            for name in ("base", "a b", "a%2Fb", "%2E%2E", "a" * 101, "%00", "<script>"):
                path = f"/v1/adapters/{name}"
                answer = await http.put(path, content=form(GOOD_PARTS), headers={"Content-Type": FORM})
                assert answer.status_code in (404, 422), name
            packed = {"Content-Type": FORM, "Content-Encoding": "gzip"}
            assert (await http.put("/v1/adapters/x", content=b"\x1f\x8b", headers=packed)).status_code == 415
            assert (await http.put("/v1/adapters/x?shared=2", content=b"")).status_code == 422
            answer = await http.put("/v1/adapters/x", content=form(GOOD_PARTS), headers={"Content-Type": FORM})
            assert answer.status_code == 200
            assert AdapterList.model_validate((await http.get("/v1/adapters")).json()).takes_more
        assert app.state.scoring.scorer.adapters.num_bytes == sum(map(len, GOOD_PARTS.values()))
        assert len(list((tmp_path / "store").iterdir())) == 2
        assert len(await numbers(alice, "x")) == 2


async def test_a_scorer_without_a_store_takes_none(tmp_path: Path) -> None:
    async def make_engine() -> FakeEngine:
        return FakeEngine()

    with running(create_app(make_engine)) as url, SyncScorerClient(url) as client:
        client.wait_ready(30)
        with pytest.raises(RequestError, match="--adapter-store FOLDER") as raised:
            client.put_adapter("a", save_adapter(tmp_path / "one"))
        assert raised.value.code == "no_adapters"
        assert client.adapters() == AdapterList(adapters=[], takes_more=False, max_rank=16)


@pytest.mark.slow
def test_the_command_line(tmp_path: Path) -> None:
    async def make_engine() -> FakeEngine:
        return FakeEngine()

    folder = str(save_adapter(tmp_path / "adapters/one", 1))
    adapters = AdapterConfig(store=tmp_path / "store", folders=tmp_path / "adapters")
    with running(create_app(make_engine, adapters=adapters)) as url:

        def said(*arguments: str) -> str:
            ended = CliRunner().invoke(icm, ["adapter", *arguments, "--scorer", url])
            return ended.output if ended.exit_code == 0 else str(ended.exception)

        assert said("put", "topics", folder).startswith("topics: rank 2, 6 layers, 0.0 MB, ")
        said("put", "again", "one", "--on-server")
        assert [line.split()[0] for line in said("list").splitlines()] == ["name", "again", "topics"]
        task = ["run", "--task", "living", "--first", "8", "--scorer", url, "--out", str(tmp_path / "run")]
        assert CliRunner().invoke(icm, [*task, "--adapter", "topics"]).exit_code == 0
        header = json.loads((tmp_path / "run/journal.jsonl").read_text().splitlines()[0])
        assert header["settings"]["model"] == "topics"
        with SyncScorerClient(url) as client:
            assert client.adapters().adapters[1].reads > 0
            assert header["model"]["digest"] != client.model().digest
        assert said("delete", "topics") == "topics is deleted\n"
        assert "unknown_adapter" in said("delete", "topics") or "does not exist" in said("delete", "topics")
        resumed = CliRunner().invoke(icm, [*task, "--adapter", "topics", "--overwrite"])
        assert "no model 'topics'" in str(resumed.exception)
    assert "not the URL" in str(CliRunner().invoke(icm, ["adapter", "list", "--scorer", "fake:"]).exception)
